// Splits a super-packet from TUN into the packets that the kernel would have sent.
#pragma once

#include <cstdint>

struct SegmentPlan {
  uint32_t ipBytes;       // IP header
  uint32_t headerBytes;   // IP and TCP or UDP header
  uint32_t payloadBytes;  // of the whole super-packet
  uint32_t segmentBytes;  // payload of each packet but the last
  uint32_t count;
  bool tcp;

  uint32_t payloadOf(uint32_t index) const {
    return index + 1 < count ? segmentBytes : payloadBytes - segmentBytes * (count - 1);
  }
};

// @returns false where `packet` is not an IPv4 packet of the kind that `gsoType` names, whole and unfragmented.
bool planSegments(const uint8_t* packet, uint32_t length, uint8_t gsoType, uint32_t segmentBytes, SegmentPlan* plan);
// Writes packet `index`, headers and checksums mended, to `out`.
void writeSegment(const SegmentPlan& plan, const uint8_t* packet, uint32_t index, uint8_t* out);
// Makes the checksum that the kernel left to the device. @returns false if its place is outside the packet.
bool finishChecksum(uint8_t* packet, uint32_t length, uint32_t start, uint32_t offset);
