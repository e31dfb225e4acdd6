//! The way into the pipeline: the port that a frame's addresses imply, and the frame as that port would have seen it.

use dataplane::buffer::Frame;
use dataplane::pipeline::PortId;
use vxlan::mac::Mac;

use super::{Arrival, Replica};
use crate::replay::fit::unwrap;
use crate::replay::headers::Sketch;
use crate::replay::place::{Entry, LeftOut};

impl Replica {
    /// Finds the port of a frame and fits the frame to it.
    pub(super) fn enter(
        &mut self,
        arrival: &Arrival<'_>,
        frame: &mut Frame,
        sketch: Option<Sketch>,
    ) -> Result<(PortId, usize), LeftOut> {
        let generation = &self.state.generation;
        let entry = self.placer.place(generation, arrival.interface, frame.bytes(), sketch.as_ref());
        let no_sketch = |fallback: PortId| Ok((fallback, arrival.known.missing));
        match entry {
            Entry::LeftOut(reason) => Err(reason),
            Entry::Inside(udp) => {
                if !unwrap(frame, udp, &mut self.fitted) {
                    return Err(LeftOut::NoAddress);
                }
                let inner = Sketch::of(frame.bytes()).ok_or(LeftOut::NoAddress)?;
                match self.placer.by_address(generation, &inner) {
                    Entry::Pod(endpoint) => self.enter_pod(arrival, frame, &inner, endpoint),
                    Entry::Node => Ok(self.enter_node(arrival, frame, &inner)),
                    Entry::LeftOut(reason) => Err(reason),
                    // From another node's pod, out of our own tunnel: nobody's packet.
                    Entry::Underlay(_) | Entry::Wrapped(_) | Entry::Inside(_) => Err(LeftOut::OtherNodes),
                }
            }
            Entry::Pod(endpoint) => match sketch {
                Some(sketch) => self.enter_pod(arrival, frame, &sketch, endpoint),
                None => no_sketch(self.pods.get(endpoint as usize).map_or(self.node, |pod| pod.0)),
            },
            Entry::Node => match sketch {
                Some(sketch) => Ok(self.enter_node(arrival, frame, &sketch)),
                None => no_sketch(self.node),
            },
            Entry::Underlay(udp) => match sketch.filter(|_| udp != usize::MAX) {
                Some(sketch) => {
                    let missing = arrival.known.missing;
                    let joined =
                        self.fitter.for_underlay(generation, frame, &sketch, udp, missing, &mut self.fitted);
                    Ok((if joined { self.datagrams } else { self.underlay }, missing))
                }
                None => no_sketch(self.underlay),
            },
            Entry::Wrapped(id) => {
                let sketch = sketch.ok_or(LeftOut::NoAddress)?;
                let vni = self.state.settings.vni;
                self.fitter.wrap(generation, frame, &sketch, id, vni, &mut self.fitted);
                Ok((self.datagrams, arrival.known.missing))
            }
        }
    }

    fn enter_pod(
        &mut self,
        arrival: &Arrival<'_>,
        frame: &mut Frame,
        sketch: &Sketch,
        endpoint: u32,
    ) -> Result<(PortId, usize), LeftOut> {
        let Some(&(port, mac)) = self.pods.get(endpoint as usize) else { return Err(LeftOut::UnknownPod) };
        if self.fitter.strict_mac && sketch.eth_dst != Mac::ZERO {
            // The pod's MAC is then the one it speaks with first, as on a wire whose kernel does not tell it.
            self.learn(port, sketch.eth_src);
        }
        let weir = self.state.generation.own.gateway_mac;
        self.fitter.for_host(frame, sketch, mac, weir, &mut self.fitted);
        Ok((port, arrival.known.missing))
    }

    fn learn(&mut self, port: PortId, mac: Mac) {
        let Some(place) = self.pods.iter_mut().find(|(id, _)| *id == port) else { return };
        let made_up = self.pipeline.bindings().get(port).and_then(|binding| binding.mac) == Some(place.1);
        if made_up
            && mac.is_unicast()
            && mac != place.1
            && let Some(binding) = self.pipeline.bindings_mut().get_mut(port)
        {
            binding.mac = Some(mac);
            // Once: whoever speaks as this pod from another MAC from now on is dropped for it.
            place.1 = Mac::ZERO;
        }
    }

    fn enter_node(&mut self, arrival: &Arrival<'_>, frame: &mut Frame, sketch: &Sketch) -> (PortId, usize) {
        let own = &self.state.generation.own;
        let (gateway, weir) = (own.gateway_mac, own.vtep_mac);
        self.fitter.for_host(frame, sketch, gateway, weir, &mut self.fitted);
        (self.node, arrival.known.missing)
    }
}
