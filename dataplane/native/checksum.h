// The Internet checksum over 64-bit accumulators; sums are in memory order, so results are stored as they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

inline uint16_t load16(const uint8_t* at) {
  uint16_t value;
  memcpy(&value, at, 2);
  return value;
}
inline void store16(uint8_t* at, uint16_t value) { memcpy(at, &value, 2); }
inline uint32_t load32(const uint8_t* at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return value;
}
inline uint16_t get16(const uint8_t* at) { return __builtin_bswap16(load16(at)); }
inline uint32_t get32(const uint8_t* at) { return __builtin_bswap32(load32(at)); }
inline void put16(uint8_t* at, uint32_t value) { store16(at, __builtin_bswap16(static_cast<uint16_t>(value))); }
inline void put32(uint8_t* at, uint32_t value) {
  value = __builtin_bswap32(value);
  memcpy(at, &value, 4);
}

// Adds `size` bytes, which start at an even place of what is summed.
inline uint64_t sumBytes(const uint8_t* data, size_t size, uint64_t sum = 0) {
  size_t i = 0;
  for (; i + 4 <= size; i += 4) sum += load32(data + i);
  if (i < size) {
    uint32_t tail = 0;
    memcpy(&tail, data + i, size - i);
    sum += tail;
  }
  return sum;
}

inline uint16_t foldSum(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>((sum & 0xffff) + (sum >> 16));
}

// Source, destination, protocol and length of an IPv4 header's payload.
inline uint64_t pseudoSum(const uint8_t* ip, uint8_t protocol, uint32_t size) {
  uint64_t sum = sumBytes(ip + 12, 8);
  sum += __builtin_bswap16(protocol);
  return sum + __builtin_bswap16(static_cast<uint16_t>(size));
}

inline void putIpChecksum(uint8_t* ip, uint32_t headerBytes) {
  store16(ip + 10, 0);
  store16(ip + 10, static_cast<uint16_t>(~foldSum(sumBytes(ip, headerBytes))));
}
