# memcpy, memmove, memset, memcmp, bcmp and strlen, with SSE2 only.
#
# In assembly, because a compiler turns a copying loop into a call of memcpy. Without AVX, which emulators do slowly
# and which would need its state kept in ring 0; without `rep movsb`, which costs a start of tens of cycles where it
# is fast, and a loop of single bytes where a machine is emulated. Small sizes are two overlapping moves, no loop.

    .irp name, memcpy, memmove, memset, memcmp, bcmp, strlen
    .globl gatehouse_\name
    .hidden gatehouse_\name
    .type gatehouse_\name, @function
    .endr

    .section .text.gatehouse_memory, "ax", @progbits

# void *memcpy(rdi, rsi, rdx), void *memmove(rdi, rsi, rdx): every load of a small size comes before its first store.
    .balign 32
gatehouse_memcpy:
gatehouse_memmove:
    mov     rax, rdi
    cmp     rdx, 16
    jb      20f
    movups  xmm0, [rsi]
    movups  xmm1, [rsi + rdx - 16]
    cmp     rdx, 32
    ja      10f
    movups  [rdi], xmm0
    movups  [rdi + rdx - 16], xmm1
    ret
10: movups  xmm2, [rsi + 16]
    movups  xmm3, [rsi + rdx - 32]
    cmp     rdx, 64
    ja      11f
    movups  [rdi], xmm0
    movups  [rdi + 16], xmm2
    movups  [rdi + rdx - 32], xmm3
    movups  [rdi + rdx - 16], xmm1
    ret
11: movups  xmm4, [rsi + 32]
    movups  xmm5, [rsi + 48]
    movups  xmm6, [rsi + rdx - 64]
    movups  xmm7, [rsi + rdx - 48]
    cmp     rdx, 128
    ja      30f
    movups  [rdi], xmm0
    movups  [rdi + 16], xmm2
    movups  [rdi + 32], xmm4
    movups  [rdi + 48], xmm5
    movups  [rdi + rdx - 64], xmm6
    movups  [rdi + rdx - 48], xmm7
    movups  [rdi + rdx - 32], xmm3
    movups  [rdi + rdx - 16], xmm1
    ret

20: cmp     edx, 8
    jb      21f
    mov     rcx, [rsi]
    mov     r8, [rsi + rdx - 8]
    mov     [rdi], rcx
    mov     [rdi + rdx - 8], r8
    ret
21: cmp     edx, 4
    jb      22f
    mov     ecx, [rsi]
    mov     r8d, [rsi + rdx - 4]
    mov     [rdi], ecx
    mov     [rdi + rdx - 4], r8d
    ret
22: cmp     edx, 1
    jb      24f
    movzx   ecx, byte ptr [rsi]
    je      23f
    movzx   r8d, word ptr [rsi + rdx - 2]
    mov     [rdi + rdx - 2], r8w
23: mov     [rdi], cl
24: ret

# More than 128 bytes. The first 16 bytes are in xmm0, the last 64 in xmm6, xmm7, xmm3, xmm1.
30: mov     rcx, rdi
    sub     rcx, rsi
    cmp     rcx, rdx                        # the destination begins inside the source: go backward
    jb      40f
    # Forward: both ends are loaded and stored last, the middle goes in aligned stores of 64 bytes.
    lea     r8, [rdi + rdx - 64]            # where the last 64 bytes go
    lea     r9, [rdi + 16]
    and     r9, -16
    sub     rsi, rdi
    add     rsi, r9                         # the source of r9
    .balign 16
31: movups  xmm4, [rsi]
    movups  xmm5, [rsi + 16]
    movups  xmm2, [rsi + 32]
    movups  xmm8, [rsi + 48]
    movaps  [r9], xmm4
    movaps  [r9 + 16], xmm5
    movaps  [r9 + 32], xmm2
    movaps  [r9 + 48], xmm8
    add     rsi, 64
    add     r9, 64
    cmp     r9, r8
    jb      31b
    movups  [rdi], xmm0
    movups  [r8], xmm6
    movups  [r8 + 16], xmm7
    movups  [r8 + 32], xmm3
    movups  [r8 + 48], xmm1
    ret

# Backward: the first 64 bytes are in xmm0, xmm2, xmm4, xmm5, the last 16 in xmm1.
40: lea     r9, [rdi + rdx - 1]
    and     r9, -16                         # the last aligned place that is not past the end
    lea     r8, [rdi + 64]
    sub     rsi, rdi
    add     rsi, r9                         # the source of r9
    .balign 16
41: movups  xmm3, [rsi - 16]
    movups  xmm6, [rsi - 32]
    movups  xmm7, [rsi - 48]
    movups  xmm8, [rsi - 64]
    movaps  [r9 - 16], xmm3
    movaps  [r9 - 32], xmm6
    movaps  [r9 - 48], xmm7
    movaps  [r9 - 64], xmm8
    sub     rsi, 64
    sub     r9, 64
    cmp     r9, r8
    ja      41b
    movups  [rdi], xmm0
    movups  [rdi + 16], xmm2
    movups  [rdi + 32], xmm4
    movups  [rdi + 48], xmm5
    movups  [rdi + rdx - 16], xmm1
    ret

# void *memset(rdi, esi, rdx)
    .balign 32
gatehouse_memset:
    mov     rax, rdi
    movzx   esi, sil
    mov     rcx, 0x0101010101010101
    imul    rcx, rsi
    cmp     rdx, 16
    jb      60f
    movq    xmm0, rcx
    punpcklqdq xmm0, xmm0
    movups  [rdi], xmm0
    movups  [rdi + rdx - 16], xmm0
    cmp     rdx, 32
    jbe     52f
    movups  [rdi + 16], xmm0
    movups  [rdi + rdx - 32], xmm0
    cmp     rdx, 64
    jbe     52f
    lea     r8, [rdi + rdx - 64]
    movups  [rdi + 32], xmm0
    movups  [rdi + 48], xmm0
    movups  [r8], xmm0
    movups  [r8 + 16], xmm0
    lea     r9, [rdi + 64]
    and     r9, -16
    cmp     r9, r8
    jae     52f
    .balign 16
51: movaps  [r9], xmm0
    movaps  [r9 + 16], xmm0
    movaps  [r9 + 32], xmm0
    movaps  [r9 + 48], xmm0
    add     r9, 64
    cmp     r9, r8
    jb      51b
52: ret
60: cmp     edx, 8
    jb      61f
    mov     [rdi], rcx
    mov     [rdi + rdx - 8], rcx
    ret
61: cmp     edx, 4
    jb      62f
    mov     [rdi], ecx
    mov     [rdi + rdx - 4], ecx
    ret
62: cmp     edx, 1
    jb      64f
    je      63f
    mov     [rdi + rdx - 2], cx
63: mov     [rdi], cl
64: ret

# int memcmp(rdi, rsi, rdx), int bcmp(rdi, rsi, rdx)
    .balign 32
gatehouse_memcmp:
gatehouse_bcmp:
    xor     eax, eax
    cmp     rdx, 16
    jb      72f
    lea     r8, [rdx - 16]                  # the last place where 16 bytes can be read
    xor     ecx, ecx
    sub     rdx, 64                         # the last place where 64 bytes can be read
    jb      70f
    .balign 16
69: movups  xmm0, [rdi + rcx]
    movups  xmm1, [rsi + rcx]
    movups  xmm2, [rdi + rcx + 16]
    movups  xmm3, [rsi + rcx + 16]
    movups  xmm4, [rdi + rcx + 32]
    movups  xmm5, [rsi + rcx + 32]
    movups  xmm6, [rdi + rcx + 48]
    movups  xmm7, [rsi + rcx + 48]
    pcmpeqb xmm0, xmm1
    pcmpeqb xmm2, xmm3
    pcmpeqb xmm4, xmm5
    pcmpeqb xmm6, xmm7
    pand    xmm0, xmm2
    pand    xmm4, xmm6
    pand    xmm0, xmm4
    pmovmskb eax, xmm0
    cmp     eax, 0xffff
    jne     70f                             # which of them: below
    add     rcx, 64
    cmp     rcx, rdx
    jbe     69b
    cmp     rcx, r8
    cmova   rcx, r8
    .balign 16
70: movups  xmm0, [rdi + rcx]
    movups  xmm1, [rsi + rcx]
    pcmpeqb xmm0, xmm1
    pmovmskb eax, xmm0
    xor     eax, 0xffff
    jnz     71f
    cmp     rcx, r8
    je      74f
    add     rcx, 16
    cmp     rcx, r8
    cmova   rcx, r8
    jmp     70b
71: bsf     eax, eax
    add     rcx, rax
    movzx   eax, byte ptr [rdi + rcx]
    movzx   edx, byte ptr [rsi + rcx]
    sub     eax, edx
    ret
# Less than 16 bytes: as big-endian numbers of 8, 4 or 1 bytes, so that the first different byte decides.
72: cmp     edx, 8
    jb      75f
    mov     rcx, [rdi]
    mov     r8, [rsi]
    cmp     rcx, r8
    jne     73f
    mov     rcx, [rdi + rdx - 8]
    mov     r8, [rsi + rdx - 8]
    cmp     rcx, r8
    je      74f
73: bswap   rcx
    bswap   r8
    cmp     rcx, r8
    sbb     eax, eax
    or      eax, 1
74: ret
75: cmp     edx, 4
    jb      77f
    mov     ecx, [rdi]
    mov     r8d, [rsi]
    cmp     ecx, r8d
    jne     73b
    mov     ecx, [rdi + rdx - 4]
    mov     r8d, [rsi + rdx - 4]
    cmp     ecx, r8d
    jne     73b
76: ret
77: test    edx, edx
    jz      76b
    movzx   eax, byte ptr [rdi]
    movzx   ecx, byte ptr [rsi]
    sub     eax, ecx
    jnz     76b
    inc     rdi
    inc     rsi
    dec     edx
    jmp     77b

# size_t strlen(rdi): aligned reads never cross into a page that the string does not touch.
    .balign 32
gatehouse_strlen:
    mov     rax, rdi
    and     rax, -16
    mov     ecx, edi
    and     ecx, 15
    pxor    xmm0, xmm0
    movdqa  xmm1, [rax]
    pcmpeqb xmm1, xmm0
    pmovmskb edx, xmm1
    shr     edx, cl
    test    edx, edx
    jnz     81f
80: add     rax, 16
    movdqa  xmm1, [rax]
    pcmpeqb xmm1, xmm0
    pmovmskb edx, xmm1
    test    edx, edx
    jz      80b
    bsf     edx, edx
    add     rax, rdx
    sub     rax, rdi
    ret
81: bsf     eax, edx
    ret
    .text
