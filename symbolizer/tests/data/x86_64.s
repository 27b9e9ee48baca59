# The code of fuzz/corpus/unwind/x86_64, a shared object without a C library:
#
#   llvm-mc -triple=x86_64-linux-gnu -filetype=obj -o x.o x86_64.s
#   ld.lld -shared -Bsymbolic -s -z max-page-size=4096 --eh-frame-hdr --build-id=none -e _start -o x86_64 x.o

    .text

# musl's first instructions; no table covers them.
    .globl _start
    .type _start, @function
_start:
    xor %rbp, %rbp
    mov %rsp, %rdi
    lea _start(%rip), %rsi
    andq $-16, %rsp
    call framed
    int3
    int3

# A frame pointer, and two ways out.
    .globl framed
    .type framed, @function
framed:
    .cfi_startproc
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    call outside@plt
    .cfi_remember_state
    test %eax, %eax
    jz 1f
    pop %rbp
    .cfi_def_cfa %rsp, 8
    .cfi_restore %rbp
    ret
1:  .cfi_restore_state
    leave
    .cfi_def_cfa %rsp, 8
    .cfi_same_value %rbp
    ret
    .cfi_endproc

# gcc's way to align a stack.
    .globl aligned
    .type aligned, @function
aligned:
    .cfi_startproc
    lea 8(%rsp), %r10
    .cfi_def_cfa %r10, 0
    and $-32, %rsp
    push -8(%r10)
    push %rbp
    mov %rsp, %rbp
    .cfi_escape 0x10, 6, 2, 0x76, 0          # DW_CFA_expression rbp: breg6 0
    push %r10
    .cfi_escape 0x0f, 3, 0x76, 0x78, 6       # DW_CFA_def_cfa_expression: breg6 -8, deref
    call outside@plt
    pop %r10
    .cfi_def_cfa %r10, 0
    pop %rbp
    lea -8(%r10), %rsp
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc

# OpenSSL's: the caller's stack pointer is kept on the stack.
    .globl kept
    .type kept, @function
kept:
    .cfi_startproc
    mov %rsp, %rax
    .cfi_def_cfa_register %rax
    sub $64, %rsp
    mov %rax, 16(%rsp)
    .cfi_escape 0x0f, 5, 0x77, 16, 6, 0x23, 8   # breg7 16, deref, plus_uconst 8
    call outside@plt
    mov 16(%rsp), %rax
    # breg7 8, breg9 0, lit8, mul, plus, deref, plus_uconst 8: no known form.
    .cfi_escape 0x0f, 11, 0x77, 8, 0x79, 0, 0x38, 0x1e, 0x22, 6, 0x23, 8, 0x96
    nop
    .cfi_def_cfa %rax, 8
    mov %rax, %rsp
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc

# A return address in a register.
    .globl moved
    .type moved, @function
moved:
    .cfi_startproc
    pop %rdx
    .cfi_def_cfa_offset 0
    .cfi_register %rip, %rdx
    .cfi_escape 0x16, 6, 1, 0x30             # DW_CFA_val_expression rbp: lit0
    nop
    jmp *%rdx
    .cfi_endproc

# A thread begins here.
    .globl first
    .type first, @function
first:
    .cfi_startproc
    .cfi_undefined %rip
    call outside@plt
    hlt
    .cfi_endproc

# glibc's trampoline: `struct ucontext` at the stack pointer.
    .globl described
    .type described, @function
    .cfi_startproc simple
    .cfi_signal_frame
    .cfi_escape 0x0f, 4, 0x77, 0xa0, 0x01, 6          # breg7 160, deref
    .cfi_escape 0x10, 6, 3, 0x77, 0xf8, 0x00          # rbp: breg7 120
    .cfi_escape 0x10, 7, 3, 0x77, 0xa0, 0x01          # rsp: breg7 160
    .cfi_escape 0x10, 16, 3, 0x77, 0xa8, 0x01         # rip: breg7 168
    nop
described:
    mov $15, %rax
    syscall
    .cfi_endproc

# musl's and Go's: no entry of its own.
    nop
    .globl restore
    .type restore, @function
restore:
    mov $15, %rax
    syscall
    int3
    int3
