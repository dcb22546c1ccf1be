// A batch: typed arrays of JavaScript, looked up once. Memory is JavaScript's; offsets and lengths in it are
// whatever JavaScript wrote last, so every use copies them and checks the copy.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

// name, C type, Node-API type of the arrays with one element for each slot
#define SLOT_ARRAYS(X)                                                                                  \
  X(offset, uint32_t, napi_uint32_array) X(length, uint32_t, napi_uint32_array)                         \
  X(verdict, uint8_t, napi_uint8_array) X(key, int32_t, napi_int32_array)                               \
  X(peer, int32_t, napi_int32_array) X(source, int32_t, napi_int32_array)                               \
  X(packetId, double, napi_float64_array) X(epoch, uint16_t, napi_uint16_array)                         \
  X(header, uint32_t, napi_uint32_array) X(flags, uint8_t, napi_uint8_array)                            \
  X(segmentBytes, uint16_t, napi_uint16_array) X(headerBytes, uint16_t, napi_uint16_array)              \
  X(offload, uint8_t, napi_uint8_array) X(checksumStart, uint16_t, napi_uint16_array)                   \
  X(checksumOffset, uint16_t, napi_uint16_array)

// Bits of Batch::present.
enum Needs : uint32_t {
#define X(name, type, kind) kBit_##name,
  SLOT_ARRAYS(X)
#undef X
#define X(name, type, kind) kHas_##name = 1u << kBit_##name,
  SLOT_ARRAYS(X)
#undef X
  kHasRemotes = 1u << 29,
  kHasCount = 1u << 30,
};

enum Verdict : uint8_t {
  kPending = 0,
  kOpened = 1,
  kSend = 2,
  kBadTag = 3,
  kTooShort = 4,
  kBadPacketId = 5,
  kBadEpoch = 6,
  kKeyExhausted = 7,
  kUnsealable = 8,
};

enum SlotFlags : uint8_t { kTcpPrefix = 1, kFramingByte = 2 };
enum Offload : uint8_t { kGsoTcp4 = 1, kGsoUdp = 5, kGsoMask = 0x7f, kNeedsChecksum = 0x80 };

// Datagrams of `bytes` or more to this row leave without GSO until `until` (they were larger than the path MTU).
struct GsoLimit {
  uint32_t bytes = UINT32_MAX;
  uint32_t until = 0;
};

struct Batch {
#define X(name, type, kind) type* name = nullptr;
  SLOT_ARRAYS(X)
#undef X
  uint8_t* bytes = nullptr;
  size_t bytesSize = 0;
  uint8_t* remotes = nullptr;
  uint32_t rows = 0;
  uint32_t* count = nullptr;
  uint32_t capacity = 0;
  uint32_t regionBytes = 0;
  uint32_t present = 0;
  std::vector<napi_ref> buffers;  // distinct ArrayBuffers; keeps them alive and lets each call see a detached one
  std::unique_ptr<GsoLimit[]> gsoLimits;

  // @returns the slot's bytes, or null if they lie outside `bytes`.
  uint8_t* slot(uint32_t index, uint32_t* slotLength) const {
    const uint64_t start = offset[index];
    const uint32_t size = length[index];
    if (start + size > bytesSize) return nullptr;
    *slotLength = size;
    return bytes + start;
  }
};
