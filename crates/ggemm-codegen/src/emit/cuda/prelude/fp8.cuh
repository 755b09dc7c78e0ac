// ---- types of fp8 operands, kept as bits, and of addresses ----
using uint64 = unsigned long long;
struct e4m3 { unsigned char bits; };
struct e5m2 { unsigned char bits; };

