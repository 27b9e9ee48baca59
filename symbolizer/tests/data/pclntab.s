# Go's table by hand, in four versions: 12, 116, 118 and 120. The layouts are those of Go's runtime/symtab.go and runtime/symtabinl.go.
# Two functions of 16 bytes; from 1.18 on main.g is inlined into the second four bytes of main.f, called in line 11.
#
#     as --defsym VERSION=120 pclntab.s -o go.o && ld -s -z noseparate-code -z max-page-size=64 go.o -o go
        .text
        .globl _start
_start:
f:      .skip 16, 0x90
h:      .skip 16, 0x90

        .section .gopclntab, "a"
table:
.if VERSION == 12
        .long 0xfffffffb
.elseif VERSION == 116
        .long 0xfffffffa
.elseif VERSION == 118
        .long 0xfffffff0
.else
        .long 0xfffffff1
.endif
        .byte 0, 0, 1, 8
        .quad 2
.if VERSION == 12
        .quad f, record_f - table, h, record_h - table, h + 16
        .long files - table
        .set names, table
        .set pc_tables, table
        .set functions, table
.else
        .quad 1
.if VERSION >= 118
        .quad f
.endif
        .quad names - table, units - table, files - table, pc_tables - table, functions - table
names:
.endif
name_f: .asciz "main.f"
name_g: .asciz "main.g"
name_h: .asciz "main.h"
.if VERSION == 12
        .balign 4
files:  .long 2, path - table
path:   .asciz "/src/main.go"
.else
units:  .long 0
files:  .asciz "/src/main.go"
pc_tables:
        .byte 0
.endif
# The first file: 1 in Go 1.2, where 0 is the number of files.
.if VERSION == 12
file_1: .byte 4, 16, 0
.else
file_1: .byte 2, 16, 0
.endif
# Line 10 for four bytes, 30 for four (main.g's), 11 for one, 12 for the rest.
lines:  .byte 22, 4, 40, 4, 37, 1, 2, 7, 0
# No inlined function for four bytes, the first for four, none for the rest.
inlined:
        .byte 0, 4, 2, 4, 1, 8, 0
        .balign 8
.if VERSION >= 118
functions:
        .long 0, record_f - functions, 16, record_h - functions, 32
.elseif VERSION == 116
functions:
        .quad f, record_f - functions, h, record_h - functions, h + 16
.endif

        .macro record function, offset, name, tables, inlines
        .balign 8
record_\function:
.if VERSION >= 118
        .long \offset
.else
        .quad \function
.endif
        .long \name - names, 0, 0, 0, file_1 - pc_tables, lines - pc_tables, \tables
.if VERSION != 12
        .long 0
.endif
.if VERSION >= 120
        .long 9
.endif
        .byte 0, 0, 0, \inlines
        .endm

        record f, 0, name_f, 3, 4
        .long 0, 0, inlined - pc_tables
        .long -1, -1, -1, tree - functions_data
        record h, 16, name_h, 0, 0

        .section .rodata
functions_data:
        .long 0
tree:
.if VERSION >= 120
        .long 0, name_g - names, 8, 29
.else
        .long 0xffff, 0, 11, name_g - names, 8
.endif

        .data
module: .quad table
        .skip 8 * 16
        .quad 3
        .skip 8 * 4
        .quad f
.if VERSION >= 120
        .skip 8 * 17
.else
        .skip 8 * 15
.endif
        .quad functions_data
