#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>

#include "addon.h"
#include "udp.h"

Instance::Instance() : udp(std::make_unique<UdpScratch>()) {}
Instance::~Instance() = default;

Call::Call(napi_env environment, napi_callback_info info) : env(environment), args{}, instance(nullptr) {
  size_t count = 6;
  void* data = nullptr;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok ||
      napi_get_instance_data(env, &data) != napi_ok || data == nullptr) {
    typeError("The addon is not loaded in this environment");
    return;
  }
  instance = static_cast<Instance*>(data);
}

double Call::number(size_t index) {
  double value = 0;
  if (!failed_ && napi_get_value_double(env, args[index], &value) != napi_ok) typeError("Expected a number");
  return value;
}

int32_t Call::integer(size_t index) {
  const double value = number(index);
  if (failed_) return 0;
  if (!(value >= INT32_MIN && value <= INT32_MAX) || value != std::floor(value)) {
    rangeError("Expected a 32-bit integer");
    return 0;
  }
  return static_cast<int32_t>(value);
}

int32_t Call::descriptor(size_t index) {
  const int32_t fd = integer(index);
  if (!failed_ && fd < 0) rangeError("Expected a file descriptor");
  return fd;
}

bool Call::boolean(size_t index) {
  bool value = false;
  if (!failed_ && napi_get_value_bool(env, args[index], &value) != napi_ok) typeError("Expected a boolean");
  return value;
}

Bytes Call::array(size_t index, napi_typedarray_type type, size_t atLeast) {
  napi_typedarray_type actual;
  size_t length = 0;
  void* data = nullptr;
  if (failed_) return {nullptr, 0};
  if (napi_get_typedarray_info(env, args[index], &actual, &length, &data, nullptr, nullptr) != napi_ok || actual != type)
    typeError("Expected another kind of typed array");
  else if (length < atLeast)
    rangeError("Expected a typed array of at least " + std::to_string(atLeast) + " elements, got " + std::to_string(length));
  return failed_ ? Bytes{nullptr, 0} : Bytes{static_cast<uint8_t*>(data), length};
}

Bytes Call::bytes(size_t index, size_t atLeast) { return array(index, napi_uint8_array, atLeast); }

napi_value Call::field(size_t index, const char* name) {
  napi_value value = nullptr;
  napi_valuetype type = napi_undefined;
  if (!failed_ && (napi_typeof(env, args[index], &type) != napi_ok || type != napi_object)) typeError("Expected an object");
  if (!failed_ && napi_get_named_property(env, args[index], name, &value) != napi_ok) failed_ = true;
  return value;
}

std::string Call::text(size_t index, const char* name) {
  char buffer[128];
  size_t length = 0;
  napi_value value = field(index, name);
  if (!failed_ && napi_get_value_string_utf8(env, value, buffer, sizeof buffer, &length) != napi_ok)
    typeError(std::string("Expected a string: ") + name);
  return failed_ ? std::string() : std::string(buffer, length);
}

int32_t Call::integerField(size_t index, const char* name, int32_t fallback) {
  napi_value value = field(index, name);
  napi_valuetype type = napi_undefined;
  double number = 0;
  if (failed_ || napi_typeof(env, value, &type) != napi_ok || type == napi_undefined) return fallback;
  if (napi_get_value_double(env, value, &number) != napi_ok)
    typeError(std::string("Expected a number: ") + name);
  else if (!(number >= 0 && number <= INT32_MAX) || number != std::floor(number))
    rangeError(std::string("Expected an integer from 0 to 2147483647: ") + name);
  return failed_ ? fallback : static_cast<int32_t>(number);
}

bool Call::booleanField(size_t index, const char* name, bool fallback) {
  napi_value value = field(index, name);
  napi_valuetype type = napi_undefined;
  if (failed_ || napi_typeof(env, value, &type) != napi_ok || type == napi_undefined) return fallback;
  if (napi_get_value_bool(env, value, &fallback) != napi_ok) typeError(std::string("Expected a boolean: ") + name);
  return fallback;
}

Bytes Call::bytesField(size_t index, const char* name) {
  napi_value value = field(index, name);
  napi_typedarray_type type;
  Bytes bytes{nullptr, 0};
  void* data = nullptr;
  if (failed_) return bytes;
  if (napi_get_typedarray_info(env, value, &type, &bytes.size, &data, nullptr, nullptr) != napi_ok || type != napi_uint8_array)
    typeError(std::string("Expected a Uint8Array: ") + name);
  bytes.data = static_cast<uint8_t*>(data);
  return failed_ ? Bytes{nullptr, 0} : bytes;
}

napi_value Call::typeError(const std::string& message) {
  if (!failed_) napi_throw_type_error(env, nullptr, message.c_str());
  failed_ = true;
  return nullptr;
}

napi_value Call::rangeError(const std::string& message) {
  if (!failed_) napi_throw_range_error(env, nullptr, message.c_str());
  failed_ = true;
  return nullptr;
}

napi_value Call::systemError(const char* what, int error) {
  if (!failed_) napi_throw_error(env, strerrorname_np(error), (std::string(what) + ": " + strerror(error)).c_str());
  failed_ = true;
  return nullptr;
}

napi_value Call::result(int32_t value) {
  napi_value out = nullptr;
  napi_create_int32(env, value, &out);
  return out;
}

napi_value Call::result(double value) {
  napi_value out = nullptr;
  napi_create_double(env, value, &out);
  return out;
}

void setField(napi_env env, napi_value object, const char* name, int32_t value) {
  napi_value out;
  if (napi_create_int32(env, value, &out) == napi_ok) napi_set_named_property(env, object, name, out);
}

void setField(napi_env env, napi_value object, const char* name, bool value) {
  napi_value out;
  if (napi_get_boolean(env, value, &out) == napi_ok) napi_set_named_property(env, object, name, out);
}

void setField(napi_env env, napi_value object, const char* name, const std::string& value) {
  napi_value out;
  if (napi_create_string_utf8(env, value.data(), value.size(), &out) == napi_ok)
    napi_set_named_property(env, object, name, out);
}

napi_value closeDescriptor(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  if (!call.failed() && close(fd) != 0 && errno != EINTR) call.systemError("close", errno);
  return nullptr;
}

namespace {

constexpr const char* kCounterNames[] = {
#define X(name) #name,
    COUNTERS(X)
#undef X
};
constexpr size_t kCounters = sizeof kCounterNames / sizeof *kCounterNames;
static_assert(sizeof(Counters) == kCounters * sizeof(uint64_t), "Counters holds nothing but its counters");

uint64_t counterAt(const Counters& counters, size_t index) {
  return *reinterpret_cast<const uint64_t*>(reinterpret_cast<const char*>(&counters) + index * sizeof(uint64_t));
}

napi_value counters(napi_env env, napi_callback_info info) {
  Call call(env, info);
  napi_value object = nullptr, number;
  if (call.failed() || napi_create_object(env, &object) != napi_ok) return nullptr;
  for (size_t i = 0; i < kCounters; i++) {
    napi_create_double(env, static_cast<double>(counterAt(call.instance->counters, i)), &number);
    napi_set_named_property(env, object, kCounterNames[i], number);
  }
  return object;
}

napi_value countersInto(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const Bytes out = call.array(0, napi_float64_array, kCounters);
  if (call.failed()) return nullptr;
  for (size_t i = 0; i < kCounters; i++)
    reinterpret_cast<double*>(out.data)[i] = static_cast<double>(counterAt(call.instance->counters, i));
  return nullptr;
}

napi_value counterNames(napi_env env, napi_callback_info) {
  napi_value names = nullptr, name;
  if (napi_create_array_with_length(env, kCounters, &names) != napi_ok) return nullptr;
  for (size_t i = 0; i < kCounters; i++) {
    napi_create_string_utf8(env, kCounterNames[i], NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, names, static_cast<uint32_t>(i), name);
  }
  return names;
}

napi_value monotonicMs(napi_env env, napi_callback_info info) {
  Call call(env, info);
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return call.result(static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6);
}

constexpr struct {
  const char* name;
  Exported* function;
} kExports[] = {
#define F(name) {#name, name}
    F(registerBatch), F(releaseBatch), F(udpOpen),      F(udpSteer),     F(udpReceive),    F(udpSend),
    F(udpSendTo),     F(tunOpen),      F(tunOffload),   F(tunRead),      F(tunWrite),      F(keyInstall),
    F(keyFree),       F(keyUsage),     F(open),         F(seal),         F(tcpListen),     F(tcpAccept),
    F(tcpReceive),    F(tcpSend),      F(pollCreate),   F(pollAdd),      F(pollModify),    F(pollRemove),
    F(pollWait),      F(eventCreate),  F(eventSignal),  F(eventClear),   F(watchReadable), F(formatAddress),
    F(parseAddress),  F(counters),     F(countersInto), F(counterNames), F(monotonicMs),   F(keyForwardForTest),
#undef F
    {"close", closeDescriptor},
};

}  // namespace

NAPI_MODULE_INIT() {
  auto* instance = new Instance();
  const auto free = [](napi_env, void* data, void*) { delete static_cast<Instance*>(data); };
  if (napi_set_instance_data(env, instance, free, nullptr) != napi_ok) {
    delete instance;
    return nullptr;
  }
  for (const auto& entry : kExports) {
    napi_value function;
    if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.function, nullptr, &function) != napi_ok ||
        napi_set_named_property(env, exports, entry.name, function) != napi_ok)
      return nullptr;
  }
  return exports;
}
