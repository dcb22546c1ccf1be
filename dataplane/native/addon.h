// What every part of the addon shares: the state of one environment (main thread or worker) and the reading of arguments.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "batch.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "checksums and headers are written for little-endian machines");

#define COUNTERS(X)                                                                                              \
  X(receiveCalls) X(receivedDatagrams) X(receiveTruncated) X(sendCalls) X(sentDatagrams) X(sendErrors)           \
  X(gsoRuns) X(gsoRefused) X(tunReads) X(tunReadPackets) X(tunWrites) X(tunWrittenPackets) X(tunWriteErrors)     \
  X(coalescedRuns) X(openCalls) X(opened) X(openFailed) X(sealCalls) X(sealed) X(sealFailed)

struct Counters {
#define X(name) uint64_t name = 0;
  COUNTERS(X)
#undef X
};

struct UdpScratch;

// One for each environment; nothing else is mutable but the process-wide key table.
struct Instance {
  Instance();
  ~Instance();
  std::vector<std::unique_ptr<Batch>> batches;  // the index is the handle; never reused
  Counters counters;
  std::unique_ptr<UdpScratch> udp;
};

struct Bytes {
  uint8_t* data;
  size_t size;
};

// Reads arguments. The first one that does not fit throws a TypeError or RangeError and sets failed().
class Call {
 public:
  Call(napi_env env, napi_callback_info info);
  int32_t integer(size_t index);
  int32_t descriptor(size_t index);
  double number(size_t index);
  bool boolean(size_t index);
  Bytes bytes(size_t index, size_t atLeast = 0);
  Bytes array(size_t index, napi_typedarray_type type, size_t atLeast);
  Batch* batch(size_t index, uint32_t needs);
  // Fields of an options object; a missing optional one leaves `value` as it is.
  std::string text(size_t index, const char* field);
  int32_t integerField(size_t index, const char* field, int32_t fallback);
  bool booleanField(size_t index, const char* field, bool fallback);
  Bytes bytesField(size_t index, const char* field);
  napi_value field(size_t index, const char* field);

  bool failed() const { return failed_; }
  napi_value typeError(const std::string& message);
  napi_value rangeError(const std::string& message);
  // Throws an Error whose `code` and message name the system call and errno.
  napi_value systemError(const char* what, int error);
  napi_value result(int32_t value);
  napi_value result(double value);

  napi_env env;
  napi_value args[6];
  Instance* instance;

 private:
  bool failed_ = false;
};

void setField(napi_env env, napi_value object, const char* name, int32_t value);
void setField(napi_env env, napi_value object, const char* name, bool value);
void setField(napi_env env, napi_value object, const char* name, const std::string& value);

using Exported = napi_value(napi_env, napi_callback_info);
Exported registerBatch, releaseBatch;
Exported udpOpen, udpSteer, udpReceive, udpSend, udpSendTo;
Exported tunOpen, tunOffload, tunRead, tunWrite;
Exported keyInstall, keyFree, keyUsage, keyForwardForTest, open, seal;
Exported tcpListen, tcpAccept, tcpReceive, tcpSend;
Exported pollCreate, pollAdd, pollModify, pollRemove, pollWait, eventCreate, eventSignal, eventClear, closeDescriptor, watchReadable;
Exported formatAddress, parseAddress;
