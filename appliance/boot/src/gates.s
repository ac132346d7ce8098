# The gates: one short stub for each of the 256 vectors.
#
# A fault saves every register and asks Rust. An interrupt only writes down that it came: it changes no register, not
# even the flags, and it touches no device. The sleeper does the rest when it is awake.

    .section .text.gatehouse_gates, "ax", @progbits
    .globl  gatehouse_gates
    .hidden gatehouse_gates
    .balign 16
gatehouse_gates:
    .set    vector, 0
    .rept   32
    .balign 16
    # These push an error code of their own: #DF #TS #NP #SS #GP #PF #AC #CP #VC #SX
    .if     ((0x60227d00 >> vector) & 1) == 0
    pushq   $0
    .endif
    pushq   $vector
    jmp     fault_gate
    .set    vector, vector + 1
    .endr
    .rept   208                             # 32 to 239
    .balign 16
    movb    $1, ({fired} + vector)(%rip)
    incl    {heard}(%rip)
    iretq
    .set    vector, vector + 1
    .endr
    .rept   16                              # 240 to 255: the masked old controllers and the spurious vector
    .balign 16
    iretq
    .set    vector, vector + 1
    .endr

fault_gate:
    cld
    pushq   %rax
    pushq   %rcx
    pushq   %rdx
    pushq   %rbx
    pushq   %rbp
    pushq   %rsi
    pushq   %rdi
    pushq   %r8
    pushq   %r9
    pushq   %r10
    pushq   %r11
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    movq    %rsp, %rdi
    call    {fault}                         # returns only for a register that the CPU does not have
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %r11
    popq    %r10
    popq    %r9
    popq    %r8
    popq    %rdi
    popq    %rsi
    popq    %rbp
    popq    %rbx
    popq    %rdx
    popq    %rcx
    popq    %rax
    addq    $16, %rsp
    iretq

# gatehouse_segments(rdi = limit and base, rsi = limit and base of the interrupt table): takes them into use.
    .globl  gatehouse_segments
    .hidden gatehouse_segments
gatehouse_segments:
    lgdtq   (%rdi)
    lidtq   (%rsi)
    movl    $16, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    movl    $24, %eax
    ltr     %ax
    popq    %rax
    pushq   $8
    pushq   %rax
    lretq
    .text
