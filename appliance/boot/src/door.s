# The PVH door: from 32-bit mode with paging off to Rust in 64-bit mode, and from there to the image's last address.
#
# Comes in with: ebx = start_info, flat segments, no stack, and nobody has said where the image lies. So nothing here
# has an address before it has been measured. `start_info` lends the four bytes of its magic as the first stack; they
# are put back before anything else is done.

    .section .note.Xen, "a", @note
    .balign 4
    .long   4, 8, 18                        # name, descriptor, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz  "Xen"
    .weak   pvh_entry_abs                   # the linker's command line says where the image is loaded
    .quad   pvh_entry_abs

    .section .bss.gatehouse_door, "aw", @nobits
    .balign 4096
    .globl  gatehouse_door_room
    .hidden gatehouse_door_room
gatehouse_door_room:                        # 22 pages, wiped when the door has been passed
door_tables:                                # one top table, one below it, four of 2 MiB pages: 4 GiB as they are
    .zero   4096 * 6
door_stack:
    .zero   4096 * 16
door_stack_top:

    .section .data.gatehouse_door, "aw", @progbits
    .balign 16
door_segments:
    .quad   0
    .quad   0x00af9b000000ffff              # 8: 64-bit code
    .quad   0x00cf93000000ffff              # 16: data
door_segments_end:

    .section .text.gatehouse_door, "ax", @progbits
    .code32
    .globl  pvh_start32
    .hidden pvh_start32
    .type   pvh_start32, @function
pvh_start32:
    cld
    movl    (%ebx), %edx
    leal    4(%ebx), %esp
    call    .Lhere
.Lhere:
    popl    %ebp
    movl    %edx, (%ebx)
    leal    (door_stack_top - .Lhere)(%ebp), %esp

    movl    %ebx, %edi                      # CPUID takes ebx
    movl    $0x80000000, %eax
    cpuid
    cmpl    $0x80000001, %eax
    jb      .Lrefuse
    movl    $0x80000001, %eax
    cpuid
    andl    $0x20100000, %edx               # long mode and NX
    cmpl    $0x20100000, %edx
    jne     .Lrefuse
    movl    %edi, %ebx

    leal    (door_tables - .Lhere)(%ebp), %edi
    movl    %edi, %edx
    xorl    %eax, %eax
    movl    $(4096 * 2 / 4), %ecx
    rep stosl                               # edi = the first of the four lowest tables
    leal    0x1003(%edx), %eax
    movl    %eax, (%edx)
    leal    0x2003(%edx), %eax
    leal    0x1000(%edx), %esi
    movl    $4, %ecx
1:  movl    %eax, (%esi)
    addl    $8, %esi
    addl    $0x1000, %eax
    loop    1b
    movl    $0x83, %eax                     # present, writable, 2 MiB
    movl    $2048, %ecx
2:  movl    %eax, (%edi)
    movl    $0, 4(%edi)
    addl    $8, %edi
    addl    $0x200000, %eax
    loop    2b

    movl    $0x620, %eax                    # PAE, OSFXSR, OSXMMEXCPT
    movl    %eax, %cr4
    movl    %edx, %cr3
    movl    $0xc0000080, %ecx               # EFER: long mode and NX, and no SYSCALL
    movl    $0x900, %eax
    xorl    %edx, %edx
    wrmsr
    movl    %cr0, %eax
    andl    $0x9ffffff3, %eax               # caches on, no emulation
    orl     $0x80010023, %eax               # paging, write protection, native FPU errors, protection
    movl    %eax, %cr0

    leal    (door_segments - .Lhere)(%ebp), %eax
    pushl   %eax
    pushl   $((door_segments_end - door_segments - 1) << 16)
    lgdtl   2(%esp)
    leal    (.Llong - .Lhere)(%ebp), %eax
    pushl   $8
    pushl   %eax
    lretl

.Lrefuse:
    leal    (.Lwhy - .Lhere)(%ebp), %esi
    movw    $0x3f8, %dx
1:  lodsb
    outb    %al, %dx
    testb   %al, %al
    jnz     1b
    movb    $0xfe, %al
    outb    %al, $0x64                      # the keyboard controller's reset, where there is one
2:  cli
    hlt
    jmp     2b
.Lwhy:
    .asciz  "gatehouse cannot start: this CPU lacks 64-bit mode or NX\n"

    .code64
.Llong:
    movl    $16, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    xorl    %eax, %eax
    movl    %eax, %fs
    movl    %eax, %gs
    lldt    %ax
    leaq    door_stack_top(%rip), %rsp
    movl    %ebx, %ebx                      # start_info, with the upper half cleared
    fninit
    call    gatehouse_relocate              # for the place where the loader put the image
    movl    %ebx, %edi
    xorl    %ebp, %ebp
    call    {plan}                          # never returns: it ends in gatehouse_cross
    ud2
    .size   pvh_start32, . - pvh_start32

# gatehouse_cross(rdi = top table, rsi = stack, rdx = how far the image moves): leaves the loader's address for ever.
# The old tables must already show the image at its new address; the new ones show nothing else of the old world.
    .globl  gatehouse_cross
    .hidden gatehouse_cross
    .type   gatehouse_cross, @function
gatehouse_cross:
    leaq    3f(%rip), %rax
    addq    %rdx, %rax
    jmpq    *%rax
3:  movq    %rdi, %cr3
    movq    %rsi, %rsp
    movq    %cr0, %rax
    andq    $~0x10000, %rax                 # relocation writes to what is read-only from now on
    movq    %rax, %cr0
    call    gatehouse_relocate              # for its last address
    xorl    %ebp, %ebp
    call    {risen}
    ud2
    .size   gatehouse_cross, . - gatehouse_cross

# gatehouse_enter(rdi = a first stack as Linux makes it)
    .globl  gatehouse_enter
    .hidden gatehouse_enter
    .type   gatehouse_enter, @function
gatehouse_enter:
    movq    %rdi, %rsp
    xorl    %edx, %edx
    xorl    %ebp, %ebp
    jmp     _start
    .size   gatehouse_enter, . - gatehouse_enter
    .text
