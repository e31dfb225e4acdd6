use super::CalicoSelector;
