#include "textflag.h"

// This file holds the passes over costs of both types. The functions for float64 and
// float32 share their loops, which are macros: these get the next eight costs from one of
// the two below, as float64 and in two vectors. Rows have index AX.

#define DOUBLES(low, high) \
	VMOVUPD (SI)(AX*8), low \
	VMOVUPD 32(SI)(AX*8), high

#define SINGLES(low, high) \
	VCVTPS2PD (SI)(AX*4), low \
	VCVTPS2PD 16(SI)(AX*4), high

// REDUCED gets the next eight reduced costs, cost − v.
#define REDUCED(COSTS, low, high) \
	COSTS(low, high) \
	VSUBPD (DX)(AX*8), low, low \
	VSUBPD 32(DX)(AX*8), high, high

// LOWER lowers the vectors at DI to those at SI, as far as CX bytes reach, a multiple of
// 128. Y10 and Y11 become the largest numbers, Y12 and Y13 a sum of products with zero,
// which are not zero for NaN and infinities.
#define LOWER(MIN, MAX, FMA) \
	VXORPD Y10, Y10, Y10 \
	VXORPD Y11, Y11, Y11 \
	VXORPD Y12, Y12, Y12 \
	VXORPD Y13, Y13, Y13 \
	VXORPD Y15, Y15, Y15 \
	XORQ AX, AX \
lower: \
	VMOVUPD (SI)(AX*1), Y0 \
	VMOVUPD 32(SI)(AX*1), Y1 \
	VMOVUPD 64(SI)(AX*1), Y2 \
	VMOVUPD 96(SI)(AX*1), Y3 \
	MIN (DI)(AX*1), Y0, Y4 \
	MIN 32(DI)(AX*1), Y1, Y5 \
	MIN 64(DI)(AX*1), Y2, Y6 \
	MIN 96(DI)(AX*1), Y3, Y7 \
	VMOVUPD Y4, (DI)(AX*1) \
	VMOVUPD Y5, 32(DI)(AX*1) \
	VMOVUPD Y6, 64(DI)(AX*1) \
	VMOVUPD Y7, 96(DI)(AX*1) \
	MAX Y0, Y10, Y10 \
	MAX Y1, Y11, Y11 \
	MAX Y2, Y10, Y10 \
	MAX Y3, Y11, Y11 \
	FMA Y15, Y0, Y12 \
	FMA Y15, Y1, Y13 \
	FMA Y15, Y2, Y12 \
	FMA Y15, Y3, Y13 \
	ADDQ $128, AX \
	CMPQ AX, CX \
	JLT lower \
	MAX Y11, Y10, Y10 \
	VEXTRACTF128 $1, Y10, X0 \
	MAX X0, X10, X10

// func lowerAVX(low, row *float64, n int) (top, rest float64)
//
// rest is zero if all numbers are finite. n is a multiple of 32.
TEXT ·lowerAVX(SB), NOSPLIT, $0-40
	MOVQ low+0(FP), DI
	MOVQ row+8(FP), SI
	MOVQ n+16(FP), CX
	SHLQ $3, CX
	LOWER(VMINPD, VMAXPD, VFMADD231PD)
	VPERMILPD $1, X10, X0
	VMAXPD X0, X10, X10
	VMOVSD X10, top+24(FP)
	VADDPD Y13, Y12, Y12
	VEXTRACTF128 $1, Y12, X0
	VADDPD X0, X12, X12
	VPERMILPD $1, X12, X0
	VADDSD X0, X12, X12
	VMOVSD X12, rest+32(FP)
	VZEROUPPER
	RET

// func lowerSingleAVX(low, row *float32, n int) (top, rest float32)
TEXT ·lowerSingleAVX(SB), NOSPLIT, $0-32
	MOVQ low+0(FP), DI
	MOVQ row+8(FP), SI
	MOVQ n+16(FP), CX
	SHLQ $2, CX
	LOWER(VMINPS, VMAXPS, VFMADD231PS)
	VPERMILPS $0x4E, X10, X0
	VMAXPS X0, X10, X10
	VPERMILPS $0xB1, X10, X0
	VMAXPS X0, X10, X10
	VMOVSS X10, top+24(FP)
	VADDPS Y13, Y12, Y12
	VEXTRACTF128 $1, Y12, X0
	VADDPS X0, X12, X12
	VPERMILPS $0x4E, X12, X0
	VADDPS X0, X12, X12
	VPERMILPS $0xB1, X12, X0
	VADDSS X0, X12, X12
	VMOVSS X12, rest+28(FP)
	VZEROUPPER
	RET

// MINIMA lowers Y0 and Y1 to the reduced costs of a row.
#define MINIMA(COSTS) \
	VMOVUPD (DI), Y0 \
	VMOVUPD 32(DI), Y1 \
	XORQ AX, AX \
minima: \
	REDUCED(COSTS, Y2, Y3) \
	VMINPD Y2, Y0, Y0 \
	VMINPD Y3, Y1, Y1 \
	ADDQ $8, AX \
	CMPQ AX, CX \
	JLT minima \
	VMOVUPD Y0, (DI) \
	VMOVUPD Y1, 32(DI) \
	VZEROUPPER

// func groupMinimaAVX(cost, v *float64, n int, low *[8]float64)
//
// Least cost − v of every eighth column. n is a multiple of 8.
TEXT ·groupMinimaAVX(SB), NOSPLIT, $0-32
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	MOVQ low+24(FP), DI
	MINIMA(DOUBLES)
	RET

// func groupMinimaSingleAVX(cost *float32, v *float64, n int, low *[8]float64)
TEXT ·groupMinimaSingleAVX(SB), NOSPLIT, $0-32
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	MOVQ low+24(FP), DI
	MINIMA(SINGLES)
	RET

// MARK sets the bits of the columns whose reduced cost is at most Y15.
#define MARK(COSTS) \
	XORQ AX, AX \
mark: \
	REDUCED(COSTS, Y2, Y3) \
	VCMPPD $0x12, Y15, Y2, Y2 \
	VCMPPD $0x12, Y15, Y3, Y3 \
	VMOVMSKPD Y2, R8 \
	VMOVMSKPD Y3, R9 \
	SHLQ $4, R9 \
	ORQ R9, R8 \
	MOVB R8, (DI) \
	INCQ DI \
	ADDQ $8, AX \
	CMPQ AX, CX \
	JLT mark \
	VZEROUPPER

// func markAVX(cost, v *float64, n int, limit float64, to *byte)
//
// Sets the bit of every column with cost − v ≤ limit. n is a multiple of 8.
TEXT ·markAVX(SB), NOSPLIT, $0-40
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	VBROADCASTSD limit+24(FP), Y15
	MOVQ to+32(FP), DI
	MARK(DOUBLES)
	RET

// func markSingleAVX(cost *float32, v *float64, n int, limit float64, to *byte)
TEXT ·markSingleAVX(SB), NOSPLIT, $0-40
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	VBROADCASTSD limit+24(FP), Y15
	MOVQ to+32(FP), DI
	MARK(SINGLES)
	RET

// EIGHT gets the reduced costs of the eight columns at DI.
#define EIGHT(COSTS) \
	VMOVDQU (DI), X4 \
	VMOVDQU 16(DI), X5 \
	VPCMPEQD Y6, Y6, Y6 \
	VMOVDQA Y6, Y7 \
	VXORPD Y2, Y2, Y2 \
	VXORPD Y3, Y3, Y3 \
	VGATHERDPD Y6, (DX)(X4*8), Y2 \
	VGATHERDPD Y7, (DX)(X5*8), Y3 \
	XORQ AX, AX \
	COSTS(Y0, Y1) \
	VSUBPD Y2, Y0, Y0 \
	VSUBPD Y3, Y1, Y1

// LEAST sets X8 to the least of Y0 and Y1, and the bits of R8 to where it is, which Y10
// and Y11 have as masks.
#define LEAST \
	VMINPD Y1, Y0, Y8 \
	VEXTRACTF128 $1, Y8, X9 \
	VMINPD X9, X8, X8 \
	VPERMILPD $1, X8, X9 \
	VMINPD X9, X8, X8 \
	VBROADCASTSD X8, Y8 \
	VCMPPD $0, Y8, Y0, Y10 \
	VCMPPD $0, Y8, Y1, Y11 \
	VMOVMSKPD Y10, R8 \
	VMOVMSKPD Y11, R9 \
	SHLQ $4, R9 \
	ORQ R9, R8

// DROP raises the least of Y0 and Y1, as LEAST left them, to infinity.
#define DROP \
	MOVQ $0x7FF0000000000000, AX \
	VMOVQ AX, X12 \
	VBROADCASTSD X12, Y12 \
	VBLENDVPD Y10, Y12, Y0, Y0 \
	VBLENDVPD Y11, Y12, Y1, Y1

// func leastTwoAVX(costs *float64, columns *int32, v *float64) (d1, d2 float64, first, second uint64)
//
// The two least cost − v of eight columns, and the bits of those that have them. Where
// several have the least, first has all of them, and d2 and second are not set.
TEXT ·leastTwoAVX(SB), NOSPLIT, $0-56
	MOVQ costs+0(FP), SI
	MOVQ columns+8(FP), DI
	MOVQ v+16(FP), DX
	EIGHT(DOUBLES)
	LEAST
	VMOVSD X8, d1+24(FP)
	MOVQ R8, first+40(FP)
	LEAQ -1(R8), R9
	ANDQ R8, R9
	JNZ tied
	DROP
	LEAST
	VMOVSD X8, d2+32(FP)
	MOVQ R8, second+48(FP)

tied:
	VZEROUPPER
	RET

// func leastTwoSingleAVX(costs *float32, columns *int32, v *float64) (d1, d2 float64, first, second uint64)
TEXT ·leastTwoSingleAVX(SB), NOSPLIT, $0-56
	MOVQ costs+0(FP), SI
	MOVQ columns+8(FP), DI
	MOVQ v+16(FP), DX
	EIGHT(SINGLES)
	LEAST
	VMOVSD X8, d1+24(FP)
	MOVQ R8, first+40(FP)
	LEAQ -1(R8), R9
	ANDQ R8, R9
	JNZ tied
	DROP
	LEAST
	VMOVSD X8, d2+32(FP)
	MOVQ R8, second+48(FP)

tied:
	VZEROUPPER
	RET

// FIRST lowers the numbers at DI to the reduced costs of a row, and sets those at R8 to
// their columns. Y4 and Y5 are the columns that it looks at.
#define FIRST(COSTS) \
	VMOVUPD (DI), Y0 \
	VMOVUPD 32(DI), Y1 \
	VMOVDQU (R8), Y2 \
	VMOVDQU 32(R8), Y3 \
	VMOVDQU (R8), Y4 \
	VMOVDQU 32(R8), Y5 \
	MOVQ $8, AX \
	VMOVQ AX, X15 \
	VPBROADCASTQ X15, Y15 \
	XORQ AX, AX \
first: \
	REDUCED(COSTS, Y6, Y7) \
	VCMPPD $0x11, Y0, Y6, Y8 \
	VCMPPD $0x11, Y1, Y7, Y9 \
	VMINPD Y0, Y6, Y0 \
	VMINPD Y1, Y7, Y1 \
	VBLENDVPD Y8, Y4, Y2, Y2 \
	VBLENDVPD Y9, Y5, Y3, Y3 \
	VPADDQ Y15, Y4, Y4 \
	VPADDQ Y15, Y5, Y5 \
	ADDQ $8, AX \
	CMPQ AX, CX \
	JLT first \
	VMOVUPD Y0, (DI) \
	VMOVUPD Y1, 32(DI) \
	VMOVDQU Y2, (R8) \
	VMOVDQU Y3, 32(R8) \
	VZEROUPPER

// func leastAVX(cost, v *float64, n int, low *[8]float64, at *[8]int64)
//
// Least cost − v of every eighth column, and where it is first. n is a multiple of 8.
TEXT ·leastAVX(SB), NOSPLIT, $0-40
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	MOVQ low+24(FP), DI
	MOVQ at+32(FP), R8
	FIRST(DOUBLES)
	RET

// func leastSingleAVX(cost *float32, v *float64, n int, low *[8]float64, at *[8]int64)
TEXT ·leastSingleAVX(SB), NOSPLIT, $0-40
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	MOVQ low+24(FP), DI
	MOVQ at+32(FP), R8
	FIRST(SINGLES)
	RET
