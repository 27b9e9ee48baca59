# The code of fuzz/corpus/unwind/aarch64, a shared object without a C library:
#
#   llvm-mc -triple=aarch64-linux-gnu -filetype=obj -o a.o aarch64.s
#   ld.lld -shared -Bsymbolic -s -z max-page-size=4096 --eh-frame-hdr --build-id=none -e _start -o aarch64 a.o

    .text

# musl's first instructions; no table covers them.
    .globl _start
    .type _start, %function
_start:
    mov x29, #0
    mov x30, #0
    mov x0, sp
    b framed
    nop
    nop

# A frame with a frame record, and a signed return address within.
    .globl framed
    .type framed, %function
framed:
    .cfi_startproc
    paciasp
    .cfi_negate_ra_state
    stp x29, x30, [sp, #-32]!
    .cfi_def_cfa_offset 32
    .cfi_offset x29, -32
    .cfi_offset x30, -24
    mov x29, sp
    .cfi_def_cfa x29, 32
    bl outside
    .cfi_remember_state
    cbz x0, 1f
    ldp x29, x30, [sp], #32
    .cfi_def_cfa sp, 0
    .cfi_restore x29
    .cfi_restore x30
    autiasp
    .cfi_negate_ra_state
    ret
1:  .cfi_restore_state
    bl outside
    nop
    .cfi_endproc

# Saves the link register alone, in another register.
    .globl moved
    .type moved, %function
moved:
    .cfi_startproc
    mov x15, x30
    .cfi_register x30, x15
    bl outside
    mov x30, x15
    .cfi_same_value x30
    ret
    .cfi_endproc

# A thread begins here.
    .globl first
    .type first, %function
first:
    .cfi_startproc
    .cfi_undefined x30
    bl outside
    nop
    .cfi_endproc

# As the vDSO and musl have it: no entry of its own.
    nop
    .globl restore
    .type restore, %function
restore:
    mov x8, #139
    svc #0
    nop
    nop
