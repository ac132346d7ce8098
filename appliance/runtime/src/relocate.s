# gatehouse_relocate: makes every address in the running image true for the place where it lies.
#
# Called before any Rust: by `_start`, and before that by the PVH door, first where the loader put the image and then at
# its last address. A second call at the same place finds it noted and returns at once, because read-only data may be
# read-only by then.
#
# Wants: the image mapped whole and writable where its program headers say so; 8 bytes of stack; nothing else.
# Changes: rax, rcx, rdx, rsi, rdi, r8, r9 and the flags. No SSE. An entry that is not R_X86_64_RELATIVE ends in ud2
# (tests/elf.rs asserts that there is none).

    .section .text.gatehouse_relocate, "ax", @progbits
    .globl gatehouse_relocate
    .hidden gatehouse_relocate
    .type gatehouse_relocate, @function
gatehouse_relocate:
    # rsi = where the image lies
    .hidden __ehdr_start
    lea     rsi, [rip + __ehdr_start]
    lea     r8, [rip + gatehouse_relocated]
    cmp     [r8], rsi
    je      9f
    mov     [r8], rsi

    # r9 = that, less where the linker thought it would.
    movzx   ecx, word ptr [rsi + 56]        # e_phnum
    mov     rax, [rsi + 32]                 # e_phoff
    add     rax, rsi
2:  cmp     dword ptr [rax], 1              # the first PT_LOAD holds the ELF header
    je      3f
    add     rax, 56
    dec     ecx
    jnz     2b
    ud2
3:  mov     r9, rsi
    sub     r9, [rax + 16]                  # p_vaddr
    add     r9, [rax + 8]                   # p_offset

    # rsi = DT_RELA, rcx = DT_RELASZ, both still as the linker wrote them.
    .hidden _DYNAMIC
    lea     rax, [rip + _DYNAMIC]
    xor     esi, esi
    xor     ecx, ecx
4:  mov     rdx, [rax]
    test    rdx, rdx                        # DT_NULL
    jz      5f
    cmp     rdx, 7                          # DT_RELA
    cmove   rsi, [rax + 8]
    cmp     rdx, 8                          # DT_RELASZ
    cmove   rcx, [rax + 8]
    add     rax, 16
    jmp     4b

5:  add     rsi, r9
    add     rcx, rsi                        # the end of the table
6:  cmp     rsi, rcx
    jae     9f
    cmp     dword ptr [rsi + 8], 8          # R_X86_64_RELATIVE
    jne     7f
    mov     rax, [rsi]                      # r_offset
    mov     rdx, [rsi + 16]                 # r_addend
    add     rdx, r9
    mov     [rax + r9], rdx
    add     rsi, 24
    jmp     6b
7:  ud2

9:  ret
    .size gatehouse_relocate, . - gatehouse_relocate

    .section .bss.gatehouse_relocated, "aw", @nobits
    .balign 8
gatehouse_relocated:                        # where the image lay when it was relocated last
    .zero 8
    .text
