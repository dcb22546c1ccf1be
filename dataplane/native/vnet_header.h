// struct virtio_net_hdr, which stands before each packet of a TUN queue.
#pragma once

#include <cstdint>

struct VnetHeader {
  uint8_t flags;
  uint8_t gsoType;
  uint16_t headerBytes;
  uint16_t gsoSize;
  uint16_t checksumStart;
  uint16_t checksumOffset;
};
static_assert(sizeof(VnetHeader) == 10, "the size set by TUNSETVNETHDRSZ");

constexpr uint8_t kVnetNeedsChecksum = 1;
constexpr uint8_t kVnetEcn = 0x80;
