//! Tests that need more than one file of the stack.

mod echo;
