#include "textflag.h"

// func lowerAVX(low, row *float64, n int)
//
// n is a multiple of 16.
TEXT ·lowerAVX(SB), NOSPLIT, $0-24
	MOVQ low+0(FP), DI
	MOVQ row+8(FP), SI
	MOVQ n+16(FP), CX
	XORQ AX, AX

lower:
	VMOVUPD (DI)(AX*8), Y0
	VMOVUPD 32(DI)(AX*8), Y1
	VMOVUPD 64(DI)(AX*8), Y2
	VMOVUPD 96(DI)(AX*8), Y3
	VMINPD (SI)(AX*8), Y0, Y0
	VMINPD 32(SI)(AX*8), Y1, Y1
	VMINPD 64(SI)(AX*8), Y2, Y2
	VMINPD 96(SI)(AX*8), Y3, Y3
	VMOVUPD Y0, (DI)(AX*8)
	VMOVUPD Y1, 32(DI)(AX*8)
	VMOVUPD Y2, 64(DI)(AX*8)
	VMOVUPD Y3, 96(DI)(AX*8)
	ADDQ $16, AX
	CMPQ AX, CX
	JLT lower
	VZEROUPPER
	RET

// func lowerSingleAVX(low, row *float32, n int)
//
// n is a multiple of 16.
TEXT ·lowerSingleAVX(SB), NOSPLIT, $0-24
	MOVQ low+0(FP), DI
	MOVQ row+8(FP), SI
	MOVQ n+16(FP), CX
	XORQ AX, AX

lower:
	VMOVUPS (DI)(AX*4), Y0
	VMOVUPS 32(DI)(AX*4), Y1
	VMINPS (SI)(AX*4), Y0, Y0
	VMINPS 32(SI)(AX*4), Y1, Y1
	VMOVUPS Y0, (DI)(AX*4)
	VMOVUPS Y1, 32(DI)(AX*4)
	ADDQ $16, AX
	CMPQ AX, CX
	JLT lower
	VZEROUPPER
	RET

// func groupMinimaAVX(cost, v *float64, n int, low *[8]float64)
//
// Least cost − v of every eighth column. n is a multiple of 8.
TEXT ·groupMinimaAVX(SB), NOSPLIT, $0-32
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	MOVQ low+24(FP), DI
	VMOVUPD (DI), Y0
	VMOVUPD 32(DI), Y1
	XORQ AX, AX

minima:
	VMOVUPD (SI)(AX*8), Y2
	VMOVUPD 32(SI)(AX*8), Y3
	VSUBPD (DX)(AX*8), Y2, Y2
	VSUBPD 32(DX)(AX*8), Y3, Y3
	VMINPD Y2, Y0, Y0
	VMINPD Y3, Y1, Y1
	ADDQ $8, AX
	CMPQ AX, CX
	JLT minima
	VMOVUPD Y0, (DI)
	VMOVUPD Y1, 32(DI)
	VZEROUPPER
	RET

// func groupMinimaSingleAVX(cost *float32, v *float64, n int, low *[8]float64)
TEXT ·groupMinimaSingleAVX(SB), NOSPLIT, $0-32
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	MOVQ low+24(FP), DI
	VMOVUPD (DI), Y0
	VMOVUPD 32(DI), Y1
	XORQ AX, AX

minima:
	VCVTPS2PD (SI)(AX*4), Y2
	VCVTPS2PD 16(SI)(AX*4), Y3
	VSUBPD (DX)(AX*8), Y2, Y2
	VSUBPD 32(DX)(AX*8), Y3, Y3
	VMINPD Y2, Y0, Y0
	VMINPD Y3, Y1, Y1
	ADDQ $8, AX
	CMPQ AX, CX
	JLT minima
	VMOVUPD Y0, (DI)
	VMOVUPD Y1, 32(DI)
	VZEROUPPER
	RET

// func markAVX(cost, v *float64, n int, limit float64, to *byte)
//
// Sets the bit of every column with cost − v ≤ limit. n is a multiple of 8.
TEXT ·markAVX(SB), NOSPLIT, $0-40
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	VBROADCASTSD limit+24(FP), Y15
	MOVQ to+32(FP), DI
	XORQ AX, AX

mark:
	VMOVUPD (SI)(AX*8), Y2
	VMOVUPD 32(SI)(AX*8), Y3
	VSUBPD (DX)(AX*8), Y2, Y2
	VSUBPD 32(DX)(AX*8), Y3, Y3
	VCMPPD $0x12, Y15, Y2, Y2
	VCMPPD $0x12, Y15, Y3, Y3
	VMOVMSKPD Y2, R8
	VMOVMSKPD Y3, R9
	SHLQ $4, R9
	ORQ R9, R8
	MOVB R8, (DI)
	INCQ DI
	ADDQ $8, AX
	CMPQ AX, CX
	JLT mark
	VZEROUPPER
	RET

// func markSingleAVX(cost *float32, v *float64, n int, limit float64, to *byte)
TEXT ·markSingleAVX(SB), NOSPLIT, $0-40
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	VBROADCASTSD limit+24(FP), Y15
	MOVQ to+32(FP), DI
	XORQ AX, AX

mark:
	VCVTPS2PD (SI)(AX*4), Y2
	VCVTPS2PD 16(SI)(AX*4), Y3
	VSUBPD (DX)(AX*8), Y2, Y2
	VSUBPD 32(DX)(AX*8), Y3, Y3
	VCMPPD $0x12, Y15, Y2, Y2
	VCMPPD $0x12, Y15, Y3, Y3
	VMOVMSKPD Y2, R8
	VMOVMSKPD Y3, R9
	SHLQ $4, R9
	ORQ R9, R8
	MOVB R8, (DI)
	INCQ DI
	ADDQ $8, AX
	CMPQ AX, CX
	JLT mark
	VZEROUPPER
	RET

// func leastTwoAVX(costs *float64, columns *int32, v *float64) (d1, d2 float64, first, second uint64)
//
// The two least cost − v of eight columns, and the bits of those that have them. Where
// several have the least, first has all of them, and d2 and second are not set.
TEXT ·leastTwoAVX(SB), NOSPLIT, $0-56
	MOVQ costs+0(FP), SI
	MOVQ columns+8(FP), DI
	MOVQ v+16(FP), DX
	VMOVDQU (DI), X4
	VMOVDQU 16(DI), X5
	VPCMPEQD Y6, Y6, Y6
	VMOVDQA Y6, Y7
	VXORPD Y2, Y2, Y2
	VXORPD Y3, Y3, Y3
	VGATHERDPD Y6, (DX)(X4*8), Y2
	VGATHERDPD Y7, (DX)(X5*8), Y3
	VMOVUPD (SI), Y0
	VMOVUPD 32(SI), Y1
	VSUBPD Y2, Y0, Y0
	VSUBPD Y3, Y1, Y1
	VMINPD Y1, Y0, Y8
	VEXTRACTF128 $1, Y8, X9
	VMINPD X9, X8, X8
	VPERMILPD $1, X8, X9
	VMINPD X9, X8, X8
	VBROADCASTSD X8, Y8
	VCMPPD $0, Y8, Y0, Y10
	VCMPPD $0, Y8, Y1, Y11
	VMOVMSKPD Y10, R8
	VMOVMSKPD Y11, R9
	SHLQ $4, R9
	ORQ R9, R8
	VMOVSD X8, d1+24(FP)
	MOVQ R8, first+40(FP)
	LEAQ -1(R8), R9
	ANDQ R8, R9
	JNZ tied
	MOVQ $0x7FF0000000000000, AX
	VMOVQ AX, X12
	VBROADCASTSD X12, Y12
	VBLENDVPD Y10, Y12, Y0, Y0
	VBLENDVPD Y11, Y12, Y1, Y1
	VMINPD Y1, Y0, Y8
	VEXTRACTF128 $1, Y8, X9
	VMINPD X9, X8, X8
	VPERMILPD $1, X8, X9
	VMINPD X9, X8, X8
	VBROADCASTSD X8, Y8
	VCMPPD $0, Y8, Y0, Y10
	VCMPPD $0, Y8, Y1, Y11
	VMOVMSKPD Y10, R8
	VMOVMSKPD Y11, R9
	SHLQ $4, R9
	ORQ R9, R8
	VMOVSD X8, d2+32(FP)
	MOVQ R8, second+48(FP)

tied:
	VZEROUPPER
	RET

// func leastTwoSingleAVX(costs *float32, columns *int32, v *float64) (d1, d2 float64, first, second uint64)
//
// The two least cost − v of eight columns, and the bits of those that have them. Where
// several have the least, first has all of them, and d2 and second are not set.
TEXT ·leastTwoSingleAVX(SB), NOSPLIT, $0-56
	MOVQ costs+0(FP), SI
	MOVQ columns+8(FP), DI
	MOVQ v+16(FP), DX
	VMOVDQU (DI), X4
	VMOVDQU 16(DI), X5
	VPCMPEQD Y6, Y6, Y6
	VMOVDQA Y6, Y7
	VXORPD Y2, Y2, Y2
	VXORPD Y3, Y3, Y3
	VGATHERDPD Y6, (DX)(X4*8), Y2
	VGATHERDPD Y7, (DX)(X5*8), Y3
	VCVTPS2PD (SI), Y0
	VCVTPS2PD 16(SI), Y1
	VSUBPD Y2, Y0, Y0
	VSUBPD Y3, Y1, Y1
	VMINPD Y1, Y0, Y8
	VEXTRACTF128 $1, Y8, X9
	VMINPD X9, X8, X8
	VPERMILPD $1, X8, X9
	VMINPD X9, X8, X8
	VBROADCASTSD X8, Y8
	VCMPPD $0, Y8, Y0, Y10
	VCMPPD $0, Y8, Y1, Y11
	VMOVMSKPD Y10, R8
	VMOVMSKPD Y11, R9
	SHLQ $4, R9
	ORQ R9, R8
	VMOVSD X8, d1+24(FP)
	MOVQ R8, first+40(FP)
	LEAQ -1(R8), R9
	ANDQ R8, R9
	JNZ tied
	MOVQ $0x7FF0000000000000, AX
	VMOVQ AX, X12
	VBROADCASTSD X12, Y12
	VBLENDVPD Y10, Y12, Y0, Y0
	VBLENDVPD Y11, Y12, Y1, Y1
	VMINPD Y1, Y0, Y8
	VEXTRACTF128 $1, Y8, X9
	VMINPD X9, X8, X8
	VPERMILPD $1, X8, X9
	VMINPD X9, X8, X8
	VBROADCASTSD X8, Y8
	VCMPPD $0, Y8, Y0, Y10
	VCMPPD $0, Y8, Y1, Y11
	VMOVMSKPD Y10, R8
	VMOVMSKPD Y11, R9
	SHLQ $4, R9
	ORQ R9, R8
	VMOVSD X8, d2+32(FP)
	MOVQ R8, second+48(FP)

tied:
	VZEROUPPER
	RET

// func leastSingleAVX(cost *float32, v *float64, n int, low *[8]float64, at *[8]int64)
TEXT ·leastSingleAVX(SB), NOSPLIT, $0-40
	MOVQ cost+0(FP), SI
	MOVQ v+8(FP), DX
	MOVQ n+16(FP), CX
	MOVQ low+24(FP), DI
	MOVQ at+32(FP), R8
	VMOVUPD (DI), Y0
	VMOVUPD 32(DI), Y1
	VMOVDQU (R8), Y2
	VMOVDQU 32(R8), Y3
	VMOVDQU (R8), Y4 // the columns looked at
	VMOVDQU 32(R8), Y5
	MOVQ $8, AX
	VMOVQ AX, X15
	VPBROADCASTQ X15, Y15
	XORQ AX, AX

least:
	VCVTPS2PD (SI)(AX*4), Y6
	VCVTPS2PD 16(SI)(AX*4), Y7
	VSUBPD (DX)(AX*8), Y6, Y6
	VSUBPD 32(DX)(AX*8), Y7, Y7
	VCMPPD $0x11, Y0, Y6, Y8 // below the least so far
	VCMPPD $0x11, Y1, Y7, Y9
	VMINPD Y0, Y6, Y0
	VMINPD Y1, Y7, Y1
	VBLENDVPD Y8, Y4, Y2, Y2
	VBLENDVPD Y9, Y5, Y3, Y3
	VPADDQ Y15, Y4, Y4
	VPADDQ Y15, Y5, Y5
	ADDQ $8, AX
	CMPQ AX, CX
	JLT least
	VMOVUPD Y0, (DI)
	VMOVUPD Y1, 32(DI)
	VMOVDQU Y2, (R8)
	VMOVDQU Y3, 32(R8)
	VZEROUPPER
	RET

// func largestAVX(c *float64, n int) (top float64, valid bool)
//
// The largest number, and whether all are finite and at least zero. n is a multiple of 8.
TEXT ·largestAVX(SB), NOSPLIT, $0-25
	MOVQ c+0(FP), SI
	MOVQ n+8(FP), CX
	MOVQ $0x7FEFFFFFFFFFFFFF, AX
	VMOVQ AX, X15
	VBROADCASTSD X15, Y15
	VXORPD Y14, Y14, Y14
	VXORPD Y0, Y0, Y0
	VXORPD Y1, Y1, Y1
	VPCMPEQD Y13, Y13, Y13
	XORQ AX, AX

largest:
	VMOVUPD (SI)(AX*8), Y2
	VMOVUPD 32(SI)(AX*8), Y3
	VCMPPD $0x1D, Y14, Y2, Y4 // at least zero
	VCMPPD $0x1D, Y14, Y3, Y5
	VCMPPD $0x12, Y15, Y2, Y6 // at most the largest finite number
	VCMPPD $0x12, Y15, Y3, Y7
	VANDPD Y4, Y6, Y6
	VANDPD Y5, Y7, Y7
	VANDPD Y6, Y13, Y13
	VANDPD Y7, Y13, Y13
	VMAXPD Y2, Y0, Y0
	VMAXPD Y3, Y1, Y1
	ADDQ $8, AX
	CMPQ AX, CX
	JLT largest
	VMAXPD Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VMAXPD X1, X0, X0
	VPERMILPD $1, X0, X1
	VMAXPD X1, X0, X0
	VMOVSD X0, top+16(FP)
	VMOVMSKPD Y13, R8
	CMPQ R8, $15
	SETEQ valid+24(FP)
	VZEROUPPER
	RET

// func largestSingleAVX(c *float32, n int) (top float32, valid bool)
//
// The largest number, and whether all are finite and at least zero. n is a multiple of 16.
TEXT ·largestSingleAVX(SB), NOSPLIT, $0-21
	MOVQ c+0(FP), SI
	MOVQ n+8(FP), CX
	MOVL $0x7F7FFFFF, AX
	VMOVD AX, X15
	VBROADCASTSS X15, Y15
	VXORPD Y14, Y14, Y14
	VXORPD Y0, Y0, Y0
	VXORPD Y1, Y1, Y1
	VPCMPEQD Y13, Y13, Y13
	XORQ AX, AX

largest:
	VMOVUPS (SI)(AX*4), Y2
	VMOVUPS 32(SI)(AX*4), Y3
	VCMPPS $0x1D, Y14, Y2, Y4 // at least zero
	VCMPPS $0x1D, Y14, Y3, Y5
	VCMPPS $0x12, Y15, Y2, Y6 // at most the largest finite number
	VCMPPS $0x12, Y15, Y3, Y7
	VANDPD Y4, Y6, Y6
	VANDPD Y5, Y7, Y7
	VANDPD Y6, Y13, Y13
	VANDPD Y7, Y13, Y13
	VMAXPS Y2, Y0, Y0
	VMAXPS Y3, Y1, Y1
	ADDQ $16, AX
	CMPQ AX, CX
	JLT largest
	VMAXPS Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VMAXPS X1, X0, X0
	VPERMILPS $0x4E, X0, X1
	VMAXPS X1, X0, X0
	VPERMILPS $0xB1, X0, X1
	VMAXPS X1, X0, X0
	VMOVSS X0, top+16(FP)
	VMOVMSKPS Y13, R8
	CMPQ R8, $255
	SETEQ valid+20(FP)
	VZEROUPPER
	RET
