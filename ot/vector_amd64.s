#include "textflag.h"

// One step of Horner's scheme for two vectors; the coefficient is shared.
#define HORNER(at) \
	VBROADCASTSD at, Y8 \
	VFMADD213PD Y8, Y0, Y4 \
	VFMADD213PD Y8, Y1, Y5

// func expRowAVX(dst, cost, pot, sums *float64, n int, f, inv float64)
//
// exp(x) = 2ᵏ exp(x − k log 2), k = round(x / log 2), which the magic number
// leaves in the low bits of Y2, Y3. n is a multiple of 8.
TEXT ·expRowAVX(SB), NOSPLIT, $0-56
	MOVQ dst+0(FP), DI
	MOVQ cost+8(FP), SI
	MOVQ pot+16(FP), DX
	MOVQ sums+24(FP), R8
	MOVQ n+32(FP), CX
	VBROADCASTSD f+40(FP), Y15
	VBROADCASTSD inv+48(FP), Y14
	VBROADCASTSD ·expReduction+0(SB), Y13  // 1/log 2
	VBROADCASTSD ·expReduction+8(SB), Y12  // magic
	VBROADCASTSD ·expReduction+16(SB), Y11 // log 2, leading digits
	VBROADCASTSD ·expReduction+24(SB), Y10 // log 2, the rest
	VBROADCASTSD ·expReduction+32(SB), Y9  // minExponent
	XORQ AX, AX

row:
	VADDPD (DX)(AX*8), Y15, Y0
	VADDPD 32(DX)(AX*8), Y15, Y1
	VSUBPD (SI)(AX*8), Y0, Y0
	VSUBPD 32(SI)(AX*8), Y1, Y1
	VMULPD Y14, Y0, Y0
	VMULPD Y14, Y1, Y1
	VCMPPD $0x1E, Y9, Y0, Y6  // above lowest
	VCMPPD $0x1E, Y9, Y1, Y7
	VBROADCASTSD ·expReduction+40(SB), Y8 // maxExponent
	VMINPD Y8, Y0, Y0
	VMINPD Y8, Y1, Y1
	VMAXPD Y9, Y0, Y0
	VMAXPD Y9, Y1, Y1
	VMOVAPD Y12, Y2
	VMOVAPD Y12, Y3
	VFMADD231PD Y13, Y0, Y2
	VFMADD231PD Y13, Y1, Y3
	VSUBPD Y12, Y2, Y4
	VSUBPD Y12, Y3, Y5
	VFNMADD231PD Y11, Y4, Y0
	VFNMADD231PD Y11, Y5, Y1
	VFNMADD231PD Y10, Y4, Y0
	VFNMADD231PD Y10, Y5, Y1
	VBROADCASTSD ·expCoefficients+0(SB), Y4
	VMOVAPD Y4, Y5
	HORNER(·expCoefficients+8(SB))
	HORNER(·expCoefficients+16(SB))
	HORNER(·expCoefficients+24(SB))
	HORNER(·expCoefficients+32(SB))
	HORNER(·expCoefficients+40(SB))
	HORNER(·expCoefficients+48(SB))
	HORNER(·expCoefficients+56(SB))
	HORNER(·expCoefficients+64(SB))
	HORNER(·expCoefficients+72(SB))
	HORNER(·expCoefficients+80(SB))
	HORNER(·expCoefficients+88(SB))
	HORNER(·expCoefficients+96(SB))
	HORNER(·expCoefficients+104(SB))
	VPSLLQ $52, Y2, Y2
	VPSLLQ $52, Y3, Y3
	VPADDQ Y2, Y4, Y4
	VPADDQ Y3, Y5, Y5
	VANDPD Y6, Y4, Y4
	VANDPD Y7, Y5, Y5
	VMOVUPD Y4, (DI)(AX*8)
	VMOVUPD Y5, 32(DI)(AX*8)
	VADDPD (R8)(AX*8), Y4, Y4
	VADDPD 32(R8)(AX*8), Y5, Y5
	VMOVUPD Y4, (R8)(AX*8)
	VMOVUPD Y5, 32(R8)(AX*8)
	ADDQ $8, AX
	CMPQ AX, CX
	JLT row
	VZEROUPPER
	RET

// func dotAVX(x, y *float64, n int) float64
//
// n is a multiple of 16.
TEXT ·dotAVX(SB), NOSPLIT, $0-32
	MOVQ x+0(FP), SI
	MOVQ y+8(FP), DX
	MOVQ n+16(FP), CX
	VXORPD Y0, Y0, Y0
	VXORPD Y1, Y1, Y1
	VXORPD Y2, Y2, Y2
	VXORPD Y3, Y3, Y3
	XORQ AX, AX

dot:
	VMOVUPD (SI)(AX*8), Y4
	VMOVUPD 32(SI)(AX*8), Y5
	VMOVUPD 64(SI)(AX*8), Y6
	VMOVUPD 96(SI)(AX*8), Y7
	VFMADD231PD (DX)(AX*8), Y4, Y0
	VFMADD231PD 32(DX)(AX*8), Y5, Y1
	VFMADD231PD 64(DX)(AX*8), Y6, Y2
	VFMADD231PD 96(DX)(AX*8), Y7, Y3
	ADDQ $16, AX
	CMPQ AX, CX
	JLT dot
	VADDPD Y1, Y0, Y0
	VADDPD Y3, Y2, Y2
	VADDPD Y2, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPD X1, X0, X0
	VHADDPD X0, X0, X0
	VMOVSD X0, ret+24(FP)
	VZEROUPPER
	RET

// func axpyAVX(alpha float64, x, y *float64, n int)
//
// n is a multiple of 16.
TEXT ·axpyAVX(SB), NOSPLIT, $0-32
	VBROADCASTSD alpha+0(FP), Y15
	MOVQ x+8(FP), SI
	MOVQ y+16(FP), DX
	MOVQ n+24(FP), CX
	XORQ AX, AX

axpy:
	VMOVUPD (DX)(AX*8), Y0
	VMOVUPD 32(DX)(AX*8), Y1
	VMOVUPD 64(DX)(AX*8), Y2
	VMOVUPD 96(DX)(AX*8), Y3
	VFMADD231PD (SI)(AX*8), Y15, Y0
	VFMADD231PD 32(SI)(AX*8), Y15, Y1
	VFMADD231PD 64(SI)(AX*8), Y15, Y2
	VFMADD231PD 96(SI)(AX*8), Y15, Y3
	VMOVUPD Y0, (DX)(AX*8)
	VMOVUPD Y1, 32(DX)(AX*8)
	VMOVUPD Y2, 64(DX)(AX*8)
	VMOVUPD Y3, 96(DX)(AX*8)
	ADDQ $16, AX
	CMPQ AX, CX
	JLT axpy
	VZEROUPPER
	RET
