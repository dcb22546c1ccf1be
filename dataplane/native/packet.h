// Bytes of packets: loads and stores, the Internet checksum, the header of TUN packets, super-packets.
#pragma once

#include "addon.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "written for little-endian machines");

// struct virtio_net_hdr, which stands before each packet of a TUN queue
struct VnetHeader {
  uint8_t flags, gsoType;
  uint16_t headerBytes, gsoSize, checksumStart, checksumOffset;
};
static_assert(sizeof(VnetHeader) == 10, "the size set by TUNSETVNETHDRSZ");
constexpr uint8_t kVnetNeedsChecksum = 1, kVnetEcn = 0x80;

template <typename T>
T load(const uint8_t* at) {
  T value;
  memcpy(&value, at, sizeof value);
  return value;
}
inline void store16(uint8_t* at, uint16_t value) { memcpy(at, &value, 2); }
inline uint16_t get16(const uint8_t* at) { return __builtin_bswap16(load<uint16_t>(at)); }
inline uint32_t get32(const uint8_t* at) { return __builtin_bswap32(load<uint32_t>(at)); }
inline void put16(uint8_t* at, uint32_t value) { store16(at, __builtin_bswap16(static_cast<uint16_t>(value))); }
inline void put32(uint8_t* at, uint32_t value) {
  value = __builtin_bswap32(value);
  memcpy(at, &value, 4);
}

// Adds `size` bytes, which start at an even place of what is summed. Sums are in memory order.
#ifdef __x86_64__
__attribute__((target_clones("avx2", "default")))  // sums a segment in half the time, where the machine has AVX2
#endif
static uint64_t sumBytes(const uint8_t* data, size_t size, uint64_t sum = 0) {
  size_t i = 0;
  for (; i + 4 <= size; i += 4) sum += load<uint32_t>(data + i);
  uint32_t tail = 0;
  memcpy(&tail, data + i, size - i);
  return sum + tail;
}

inline uint16_t foldSum(uint64_t sum) {
  for (int i = 0; i < 5; i++) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// Source, destination, protocol and length of what stands behind an IPv4 header.
inline uint64_t pseudoSum(const uint8_t* ip, uint8_t protocol, uint32_t size) {
  const uint64_t addresses = uint64_t{load<uint32_t>(ip + 12)} + load<uint32_t>(ip + 16);
  return addresses + __builtin_bswap16(protocol) + __builtin_bswap16(static_cast<uint16_t>(size));
}

inline void putIpChecksum(uint8_t* ip, uint32_t headerBytes) {
  store16(ip + 10, 0);
  store16(ip + 10, static_cast<uint16_t>(~foldSum(sumBytes(ip, headerBytes))));
}

// How a super-packet from TUN becomes the packets that the kernel would have sent.
struct SegmentPlan {
  uint32_t ipBytes, headerBytes, payloadBytes, segmentBytes, count;
  bool tcp;
  uint32_t payloadOf(uint32_t index) const {
    return index + 1 < count ? segmentBytes : payloadBytes - segmentBytes * (count - 1);
  }
};

// @returns false where `packet` is not an IPv4 packet of the kind that `gsoType` names, whole and unfragmented.
inline bool planSegments(const uint8_t* packet, uint32_t length, uint8_t gsoType, uint32_t segmentBytes, SegmentPlan* plan) {
  const bool tcp = gsoType == kGsoTcp4;
  if ((!tcp && gsoType != kGsoUdp) || segmentBytes == 0 || length < 20 || packet[0] >> 4 != 4) return false;
  const uint32_t ipBytes = (packet[0] & 0x0fu) * 4, leastBytes = ipBytes + (tcp ? 20 : 8);
  if (ipBytes < 20 || leastBytes > length || packet[9] != (tcp ? 6 : 17)) return false;
  if (get16(packet + 2) != length || (get16(packet + 6) & 0x3fff) != 0) return false;
  const uint32_t headerBytes = tcp ? ipBytes + (packet[ipBytes + 12] >> 4) * 4u : leastBytes;
  if (headerBytes < leastBytes || headerBytes >= length) return false;
  const uint32_t payloadBytes = length - headerBytes;
  *plan = {ipBytes, headerBytes, payloadBytes, segmentBytes, (payloadBytes + segmentBytes - 1) / segmentBytes, tcp};
  return true;
}

// Makes the checksum that the kernel left to the device; its place must lie inside the packet, and holds the pseudo
// header's sum, so that summing over it adds it.
inline void finishChecksum(uint8_t* packet, uint32_t length, uint32_t start, uint32_t offset) {
  const auto sum = static_cast<uint16_t>(~foldSum(sumBytes(packet + start, length - start)));
  store16(packet + start + offset, sum == 0 && offset == 6 ? 0xffff : sum);  // 0 would mean "no checksum" in UDP
}

// Makes packet `index` in place: `headers`, copied from the super-packet before the first, go before its payload, over what
// is there of earlier packets, so that none can be made again. @returns its first byte.
inline uint8_t* cutSegment(const SegmentPlan& plan, const uint8_t* headers, uint8_t* packet, uint32_t index) {
  constexpr uint8_t kFinPush = 0x09, kCwr = 0x80;
  const uint32_t before = index * plan.segmentBytes, innerBytes = plan.headerBytes - plan.ipBytes + plan.payloadOf(index);
  uint8_t *out = packet + before, *inner = out + plan.ipBytes;
  memcpy(out, headers, plan.headerBytes);
  put16(out + 2, plan.ipBytes + innerBytes);
  put16(out + 4, get16(headers + 4) + index);
  putIpChecksum(out, plan.ipBytes);
  if (plan.tcp) {
    put32(inner + 4, get32(inner + 4) + before);
    inner[13] &= static_cast<uint8_t>(~((index + 1 < plan.count ? kFinPush : 0) | (index > 0 ? kCwr : 0)));
  } else {
    put16(inner + 4, innerBytes);
  }
  const uint32_t place = plan.tcp ? 16 : 6;
  store16(inner + place, foldSum(pseudoSum(out, plan.tcp ? 6 : 17, innerBytes)));
  finishChecksum(inner, innerBytes, 0, place);
  return out;
}
