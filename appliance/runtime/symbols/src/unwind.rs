//! The unwinder's symbols. A panic here ends the program (`panic = "abort"`); nothing is ever unwound or traced.

use core::ffi::c_void;

/// `_URC_END_OF_STACK`: there is no frame above.
const END_OF_STACK: i32 = 5;

/// Defines functions of the unwinder that have nothing to say.
macro_rules! silent {
    ($($name:ident() -> $answer:ty = $value:expr;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> $answer {
            $value
        }
    )*};
}

silent! {
    _Unwind_Backtrace() -> i32 = END_OF_STACK;
    _Unwind_GetIP() -> usize = 0;
    _Unwind_GetIPInfo() -> usize = 0;
    _Unwind_SetIP() -> () = ();
    _Unwind_SetGR() -> () = ();
    _Unwind_GetRegionStart() -> usize = 0;
    _Unwind_GetTextRelBase() -> usize = 0;
    _Unwind_GetDataRelBase() -> usize = 0;
    _Unwind_GetLanguageSpecificData() -> *const c_void = core::ptr::null();
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    runtime::fault("a panic was unwound in a program that does not unwind")
}
