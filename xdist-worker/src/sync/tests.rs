//! Copies with a coordinator that is made of a few lines, and may be hostile.
