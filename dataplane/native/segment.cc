#include "segment.h"

#include <cstring>

#include "batch.h"
#include "checksum.h"

namespace {

constexpr uint8_t kFin = 0x01, kPush = 0x08, kCwr = 0x80;

}  // namespace

bool planSegments(const uint8_t* packet, uint32_t length, uint8_t gsoType, uint32_t segmentBytes, SegmentPlan* plan) {
  const bool tcp = gsoType == kGsoTcp4;
  if ((!tcp && gsoType != kGsoUdp) || segmentBytes == 0 || length < 20 || packet[0] >> 4 != 4) return false;
  const uint32_t ipBytes = (packet[0] & 0x0fu) * 4;
  if (ipBytes < 20 || ipBytes + (tcp ? 20 : 8) > length || packet[9] != (tcp ? 6 : 17)) return false;
  if (get16(packet + 2) != length || (get16(packet + 6) & 0x3fff) != 0) return false;
  const uint32_t headerBytes = ipBytes + (tcp ? (packet[ipBytes + 12] >> 4) * 4u : 8);
  if (headerBytes < ipBytes + (tcp ? 20 : 8) || headerBytes >= length) return false;
  const uint32_t payloadBytes = length - headerBytes;
  *plan = {ipBytes, headerBytes, payloadBytes, segmentBytes, (payloadBytes + segmentBytes - 1) / segmentBytes, tcp};
  return true;
}

void writeSegment(const SegmentPlan& plan, const uint8_t* packet, uint32_t index, uint8_t* out) {
  const uint32_t payloadBytes = plan.payloadOf(index), before = index * plan.segmentBytes;
  uint8_t* inner = out + plan.ipBytes;
  memcpy(out, packet, plan.headerBytes);
  memcpy(out + plan.headerBytes, packet + plan.headerBytes + before, payloadBytes);
  const uint32_t innerBytes = plan.headerBytes - plan.ipBytes + payloadBytes;
  put16(out + 2, plan.ipBytes + innerBytes);
  put16(out + 4, get16(packet + 4) + index);
  putIpChecksum(out, plan.ipBytes);
  uint8_t* checksum;
  if (plan.tcp) {
    put32(inner + 4, get32(inner + 4) + before);
    if (index + 1 < plan.count) inner[13] &= static_cast<uint8_t>(~(kFin | kPush));
    if (index > 0) inner[13] &= static_cast<uint8_t>(~kCwr);
    checksum = inner + 16;
  } else {
    put16(inner + 4, innerBytes);
    checksum = inner + 6;
  }
  store16(checksum, 0);
  const auto sum = static_cast<uint16_t>(~foldSum(sumBytes(inner, innerBytes, pseudoSum(out, plan.tcp ? 6 : 17, innerBytes))));
  store16(checksum, !plan.tcp && sum == 0 ? 0xffff : sum);
}

bool finishChecksum(uint8_t* packet, uint32_t length, uint32_t start, uint32_t offset) {
  if (start + offset + 2 > length) return false;
  uint8_t* checksum = packet + start + offset;
  // The kernel left the pseudo header's sum there, so summing over it adds it.
  const auto sum = static_cast<uint16_t>(~foldSum(sumBytes(packet + start, length - start)));
  store16(checksum, sum == 0 && offset == 6 ? 0xffff : sum);  // 0 would mean "no checksum" in UDP
  return true;
}
