# gatehouse_relocate: makes every address in the running image true for the place where it lies.
#
# Called before any Rust: by `_start`, and before that by the PVH door, first where the loader put the image and then at
# its last address. A second call at the same place finds it noted and returns at once, because read-only data may be
# read-only by then.
#
# The linker packs what is to be moved into bits (DT_RELR): an even word is the address of a word that holds an address,
# an odd one tells by 63 bits which of the next 63 words do. The addresses themselves stand in those words, so a second
# move is by as far as the image went since the first; what was stored in one of them in between would move too, and
# nothing is.
#
# Wants: the image mapped whole and writable where its program headers say so; 8 bytes of stack; nothing else.
# Changes: rax, rcx, rdx, rsi, rdi, r8, r9, r10 and the flags. No SSE.

    .section .text.gatehouse_relocate, "ax", @progbits
    .globl gatehouse_relocate
    .hidden gatehouse_relocate
    .type gatehouse_relocate, @function
gatehouse_relocate:
    # rsi = where the image lies
    .hidden __ehdr_start
    lea     rsi, [rip + __ehdr_start]
    lea     r8, [rip + gatehouse_relocated]
    mov     r10, [r8]
    cmp     r10, rsi
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

    # rdi = how far it moves now: from where the linker thought, or from where it was relocated last.
    mov     rdi, r9
    sub     rsi, r10
    test    r10, r10
    cmovnz  rdi, rsi

    # rsi = DT_RELR, rcx = DT_RELRSZ, both still as the linker wrote them.
    .hidden _DYNAMIC
    lea     rax, [rip + _DYNAMIC]
    xor     esi, esi
    xor     ecx, ecx
4:  mov     rdx, [rax]
    test    rdx, rdx                        # DT_NULL
    jz      5f
    cmp     rdx, 36                         # DT_RELR
    cmove   rsi, [rax + 8]
    cmp     rdx, 35                         # DT_RELRSZ
    cmove   rcx, [rax + 8]
    add     rax, 16
    jmp     4b

5:  add     rsi, r9
    add     rcx, rsi                        # the end of the table
6:  cmp     rsi, rcx
    jae     9f
    mov     rdx, [rsi]
    add     rsi, 8
    test    dl, 1
    jnz     7f
    lea     rax, [rdx + r9]                 # one word
    add     [rax], rdi
    add     rax, 8
    jmp     6b
7:  mov     r8, rax                         # those of the next 63 words whose bit is set
8:  shr     rdx
    jz      2f
    test    dl, 1
    jz      3f
    add     [r8], rdi
3:  add     r8, 8
    jmp     8b
2:  add     rax, 63 * 8
    jmp     6b

9:  ret
    .size gatehouse_relocate, . - gatehouse_relocate

    .section .bss.gatehouse_relocated, "aw", @nobits
    .balign 8
gatehouse_relocated:                        # where the image lay when it was relocated last
    .zero 8
    .text
