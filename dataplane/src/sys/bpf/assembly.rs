//! A program being written down: instructions, and which of them jump where.

use super::{Instruction, instruction};

/// Instructions with labels of the program's own kind.
pub(in crate::sys) struct Assembly<Label> {
    instructions: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    places: Vec<(Label, usize)>,
}

impl<Label: Copy + PartialEq> Assembly<Label> {
    pub(in crate::sys) fn new() -> Self {
        Self { instructions: Vec::new(), jumps: Vec::new(), places: Vec::new() }
    }

    /// Adds an instruction.
    pub(in crate::sys) fn put(&mut self, code: u8, to: u8, from: u8, number: i32) {
        self.instructions.push(instruction(code, to, from, number));
    }

    /// Adds an instruction with an offset: a load or a store.
    pub(in crate::sys) fn put_at(&mut self, code: u8, to: u8, from: u8, offset: i16) {
        let mut instruction = instruction(code, to, from, 0);
        let [_, _, o0, o1, ..] = &mut instruction;
        [*o0, *o1] = offset.to_ne_bytes();
        self.instructions.push(instruction);
    }

    /// Adds a jump that compares a register with a number.
    pub(in crate::sys) fn jump(&mut self, code: u8, register: u8, number: i32, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.put(code, register, 0, number);
    }

    /// Adds a jump that compares two registers.
    pub(in crate::sys) fn jump_by(&mut self, code: u8, register: u8, other: u8, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.put(code, register, other, 0);
    }

    /// Says that jumps to `label` end here.
    pub(in crate::sys) fn place(&mut self, label: Label) {
        self.places.push((label, self.instructions.len()));
    }

    /// Writes the distances of jumps into them. Every label is placed once.
    pub(in crate::sys) fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in &self.jumps {
            let place = self.places.iter().find(|(placed, _)| placed == label).map_or(0, |(_, place)| *place);
            // All jumps go forward.
            let distance = place.saturating_sub(at + 1) as u16;
            if let Some([_, _, d0, d1, ..]) = self.instructions.get_mut(*at) {
                [*d0, *d1] = distance.to_ne_bytes();
            }
        }
        self.instructions
    }
}
