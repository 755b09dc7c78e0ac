// ---- types: 16-bit floats are kept as bits, so that no header is needed ----
using uint16 = unsigned short;
using uint32 = unsigned int;
using int64 = long long;
struct bf16 { uint16 bits; };
struct f16 { uint16 bits; };
using f32 = float;

__device__ __forceinline__ int min_of(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int64 min_of(int64 a, int64 b) { return a < b ? a : b; }
__device__ __forceinline__ int max_of(int a, int b) { return a > b ? a : b; }
__device__ __forceinline__ int64 max_of(int64 a, int64 b) { return a > b ? a : b; }

// Quotient of non-negative integers, rounded up, without overflow.
__device__ __forceinline__ int ceil_div(int a, int b) { return a / b + (a % b != 0); }

