//! Steps of a lookup that compilers do not turn into the few vector instructions that do them.
//!
//! Each has a portable form that means the same, and a test that compares the two. On x86-64 `x86` uses SSE2, which
//! every such processor has, and `avx512` looks sixteen packets up in step where the processor can. The only unsafe code
//! of this crate is here: telling the compiler what the processor has, and gathers, which are kept within their tables.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod layout;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512, Lanes, Mask, Words, Work};

#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Keys;

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use portable::Keys;

#[cfg(test)]
mod tests {
    use super::{Keys, portable};

    #[test]
    fn both_forms_count_the_same_keys() {
        let keys = [0, 1, 7, 0x7fff, 0x8000, 0xfffe, 0xffff, 0xffff];
        for low in [0, 1, 2, 6, 7, 8, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffd, 0xfffe, 0xffff] {
            let expected = keys.iter().filter(|&&key| low > key).count();
            assert_eq!(Keys::new(keys).below(low), expected, "{low}");
            assert_eq!(portable::Keys::new(keys).below(low), expected, "{low}");
        }
    }
}
