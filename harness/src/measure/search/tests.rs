use std::time::Duration;

use super::{Found, Limits, SearchError, SearchOutcome, search};
use crate::measure::Goal;
use crate::measure::simulated::Simulated;

const TRIAL: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits { least: 1_000.0, most: 20_000_000.0, trials: 2_000 }
}

/// A knee somewhere between the limits, another for every seed.
fn knee(seed: u64) -> f64 {
    let share = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1_u64 << 53) as f64;
    3_000.0 * (5_000.0_f64).powf(share)
}

/// Searches a device with this knee, of which one in `disturbed` trials loses frames for no reason of its own.
fn searched(seed: u64, disturbed: u64) -> (f64, SearchOutcome) {
    let mut device = Simulated::new(knee(seed), seed);
    device.disturbed = disturbed;
    let goals = [Goal::ndr(TRIAL), Goal::pdr(TRIAL)];
    let outcome = search(&mut device, &goals, limits(), |_| true).expect("the device works");
    (device.knee, outcome)
}

/// Lower and upper load, the load at which the goal's loss begins.
fn answer(found: &Found, knee: f64) -> (f64, f64, f64) {
    let (lower, upper) = (found.lower.expect("it forwards"), found.upper.expect("it has a knee"));
    assert!(found.complete && 1.0 - lower.load / upper.load <= found.goal.width, "{found:?}");
    (lower.load, upper.load, knee / (1.0 - found.goal.loss_ratio))
}

#[test]
fn the_knee_is_found_within_the_width_for_every_seed() {
    let mut trials = 0;
    for seed in 0..100 {
        let (knee, outcome) = searched(seed, 0);
        for found in &outcome.found {
            let (lower, upper, truth) = answer(found, knee);
            // A frame more or less in a trial is not to be seen.
            assert!(lower <= truth + 2.0 && truth - 2.0 <= upper, "seed {seed}: {truth} is not in {found:?}");
        }
        trials += outcome.trials.len();
    }
    println!("{} trials for each search", trials / 100);
    assert!(trials < 100 * 60, "{trials} trials");
}

#[test]
fn a_disturbed_trial_in_twenty_hardly_ever_moves_the_answer_and_only_down() {
    let mut moved = 0;
    for seed in 0..100 {
        let (knee, outcome) = searched(seed, 20);
        for found in &outcome.found {
            let (lower, upper, truth) = answer(found, knee);
            assert!(lower <= truth + 2.0, "seed {seed}: {truth} is below {found:?}");
            moved += u32::from(truth - 2.0 > upper);
        }
    }
    println!("{moved} of 200 answers moved");
    assert!(moved <= 6, "{moved} of 200");
}

#[test]
fn the_search_climbs_from_below_and_never_starts_at_full_rate() {
    let mut device = Simulated::new(1_000_000.0, 1);
    search(&mut device, &[Goal::ndr(TRIAL)], limits(), |_| true).expect("the device works");
    let loads: Vec<f64> = device.log.iter().map(|outcome| outcome.trial.load).collect();
    assert!((loads[0] - 1_000.0).abs() < 1e-9);
    let highest = loads.iter().copied().fold(0.0, f64::max);
    assert!(highest <= 4.0 * 1_000_000.0 * 1.05, "{highest}");
}

#[test]
fn a_device_that_takes_everything_has_no_upper_bound() {
    let mut device = Simulated::new(1e12, 1);
    let outcome = search(&mut device, &[Goal::ndr(TRIAL)], limits(), |_| true).expect("the device works");
    let found = &outcome.found[0];
    assert!(found.complete && found.upper.is_none());
    assert!((found.lower.expect("all").load - 20_000_000.0).abs() < 1.0);
}

#[test]
fn a_device_that_forwards_nothing_has_no_lower_bound() {
    let mut device = Simulated::new(0.0, 1);
    let outcome = search(&mut device, &[Goal::ndr(TRIAL)], limits(), |_| true).expect("the device works");
    let found = &outcome.found[0];
    assert!(found.complete && found.lower.is_none() && found.rate() == 0.0);
    assert!((found.upper.expect("none").load - 1_000.0).abs() < 1e-9);
}

#[test]
fn a_rate_the_generators_cannot_send_is_not_taken_for_the_devices() {
    let mut device = Simulated::new(1e12, 1);
    device.line_rate = 500_000.0;
    let outcome = search(&mut device, &[Goal::ndr(TRIAL)], limits(), |_| true).expect("the device works");
    let lower = outcome.found[0].lower.expect("it forwards");
    assert!(lower.load <= 500_001.0 && lower.load >= 500_000.0 * 0.995, "{lower:?}");
}

#[test]
fn an_interrupted_search_keeps_what_it_knows() {
    let mut device = Simulated::new(1_000_000.0, 1);
    let outcome =
        search(&mut device, &[Goal::ndr(TRIAL)], limits(), |trials| trials.len() < 5).expect("it works");
    assert!(outcome.interrupted && outcome.trials.len() == 5 && !outcome.found[0].complete);
}

#[test]
fn senseless_limits_and_goals_are_refused() {
    let mut device = Simulated::new(1.0, 1);
    let limits = Limits { least: 10.0, most: 5.0, trials: 10 };
    assert!(matches!(
        search(&mut device, &[Goal::ndr(TRIAL)], limits, |_| true),
        Err(SearchError::Limits { .. })
    ));
    let goal = Goal { width: 0.0, ..Goal::ndr(TRIAL) };
    assert!(matches!(search(&mut device, &[goal], self::limits(), |_| true), Err(SearchError::Goal(_))));
    assert!(device.log.is_empty());
}
