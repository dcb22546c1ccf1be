// Scratch memory of the batched UDP calls, one for each environment.
#pragma once

#include <sys/socket.h>

#include "socket_address.h"

constexpr unsigned kMessages = 64;       // datagrams or GSO runs for each system call
constexpr unsigned kGsoSegments = 64;    // what every kernel with UDP_SEGMENT takes
constexpr unsigned kGroSegments = 128;   // what the newest kernels glue together
constexpr unsigned kSendIovecs = kMessages * 8;
constexpr size_t kControlBytes = 128;    // packet info, timestamps of none, segment size

struct UdpScratch {
  mmsghdr messages[kMessages];
  iovec iovecs[kSendIovecs];
  sockaddr_storage names[kMessages];
  alignas(cmsghdr) uint8_t control[kMessages][kControlBytes];
  struct Run {
    uint32_t datagrams;
    uint32_t segmentBytes;  // 0: a single datagram
    uint32_t totalBytes;
    int32_t row;
  } runs[kMessages];
};
