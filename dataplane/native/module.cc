#include <sched.h>
#include <unistd.h>

#include <cmath>

#include "addon.h"
#include "socket_address.h"

Call::Call(napi_env environment, napi_callback_info info) : env(environment) {
  size_t count = 6;
  void *data = nullptr, *called = nullptr;
  napi_get_cb_info(env, info, &count, args, nullptr, &called);
  if (napi_get_instance_data(env, &data) != napi_ok || data == nullptr) typeError("The addon is not loaded here");
  instance = static_cast<Instance*>(data);
  function = reinterpret_cast<int64_t (*)(Call&)>(called);
}

int32_t Call::integer(size_t index) {
  double value = 0;
  if (!failed_ && napi_get_value_double(env, args[index], &value) != napi_ok) typeError("Expected a number");
  if (value >= INT32_MIN && value <= INT32_MAX && value == std::floor(value)) return static_cast<int32_t>(value);
  return static_cast<int32_t>(rangeError("Expected a 32-bit integer"));
}

int32_t Call::descriptor(size_t index) {
  const int32_t fd = integer(index);
  return fd >= 0 ? fd : static_cast<int32_t>(rangeError("Expected a file descriptor"));
}

uint32_t Call::count(size_t index, const Batch* batch) {
  const int32_t count = integer(index);
  if (!failed_ && (count < 0 || static_cast<uint32_t>(count) > batch->capacity)) rangeError("More slots than the batch has");
  return static_cast<uint32_t>(count);
}

Bytes Call::array(size_t index, napi_typedarray_type type, size_t atLeast) {
  napi_typedarray_type actual;
  Bytes found{};
  void* data = nullptr;
  if (failed_) return found;
  if (napi_get_typedarray_info(env, args[index], &actual, &found.size, &data, nullptr, nullptr) != napi_ok || actual != type)
    typeError("Expected another kind of typed array");
  else if (found.size < atLeast)
    rangeError("Expected " + std::to_string(atLeast) + " elements or more, got " + std::to_string(found.size));
  found.data = static_cast<uint8_t*>(data);
  return found;
}

Batch* Call::batch(size_t index) {
  const int32_t handle = integer(index);
  if (failed_) return nullptr;
  const bool known = handle >= 0 && static_cast<size_t>(handle) < instance->batches.size() && instance->batches[handle];
  Batch* batch = known ? instance->batches[handle].get() : nullptr;
  if (batch == nullptr) rangeError("No such batch");
  for (size_t i = 0; !failed_ && i < batch->buffers.size(); i++) {
    napi_value buffer;
    bool detached = true;
    napi_get_reference_value(env, batch->buffers[i], &buffer);
    napi_is_detached_arraybuffer(env, buffer, &detached);
    if (detached) typeError("The memory of the batch was transferred away");
  }
  return batch;
}

namespace {

// Keeps the buffer of array `name` of the first argument. @returns its elements.
template <typename T>
T* adopt(Call& call, Batch* batch, const char* name, napi_typedarray_type expected, size_t* elements) {
  napi_value array, buffer, resizable, known;
  napi_typedarray_type type;
  napi_ref reference = nullptr;
  void* data = nullptr;
  bool isResizable = false, isKnown = false;
  if (call.failed() || napi_get_named_property(call.env, call.args[0], name, &array) != napi_ok ||
      napi_get_typedarray_info(call.env, array, &type, elements, &data, &buffer, nullptr) != napi_ok || type != expected) {
    call.typeError(std::string("Not the expected kind of typed array: ") + name);
    return nullptr;
  }
  if (napi_get_named_property(call.env, buffer, "resizable", &resizable) == napi_ok)
    napi_get_value_bool(call.env, resizable, &isResizable);
  if (isResizable) call.typeError(std::string("A buffer that can shrink: ") + name);
  for (size_t i = 0; !isKnown && i < batch->buffers.size(); i++)
    if (napi_get_reference_value(call.env, batch->buffers[i], &known) == napi_ok)
      napi_strict_equals(call.env, known, buffer, &isKnown);
  if (isKnown) return static_cast<T*>(data);
  if (napi_create_reference(call.env, buffer, 1, &reference) != napi_ok) call.typeError("A buffer that cannot be kept");
  if (reference != nullptr) batch->buffers.push_back(reference);
  return static_cast<T*>(data);
}

void release(napi_env env, const Batch& batch) {
  for (napi_ref reference : batch.buffers) napi_delete_reference(env, reference);
}

napi_value callExported(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int64_t result = call.failed() ? 0 : call.function(call);
  if (!call.failed() && call.object == nullptr) napi_create_int64(env, result, &call.object);
  return call.failed() ? nullptr : call.object;
}

}  // namespace

// (object of arrays, bytes of a receive region)
int64_t exported::registerBatch(Call& call) {
  auto batch = std::make_unique<Batch>();
  const int32_t regionBytes = call.integer(1);
  size_t elements = 0;
#define X(name, type, kind) batch->name = adopt<type>(call, batch.get(), #name, kind, &elements), sizes[i++] = elements;
  size_t sizes[32], i = 0;
  SLOT_ARRAYS(X)
  const size_t capacity = sizes[0], slotArrays = i;
  OTHER_ARRAYS(X)
#undef X
  batch->bytesSize = sizes[slotArrays];
  batch->capacity = static_cast<uint32_t>(capacity);
  batch->rows = static_cast<uint32_t>(sizes[slotArrays + 1] / sizeof(SocketAddress));
  batch->regionBytes = static_cast<uint32_t>(regionBytes);
  if (capacity == 0 || capacity > 65536) call.rangeError("A batch has 1 to 65536 slots");
  for (size_t slot = 0; slot < slotArrays; slot++)
    if (sizes[slot] != capacity) call.rangeError("Arrays of different numbers of slots");
  if (batch->rows * sizeof(SocketAddress) != sizes[slotArrays + 1]) call.rangeError("remotes is not made of rows");
  if (batch->bytesSize > UINT32_MAX) call.rangeError("bytes is larger than an offset can say");
  if (regionBytes < 64 || sizes[slotArrays + 2] == 0) call.rangeError("regionBytes is below 64, or count empty");
  if (call.failed()) release(call.env, *batch);
  else call.instance->batches.push_back(std::move(batch));
  return static_cast<int64_t>(call.instance->batches.size()) - 1;
}

int64_t exported::releaseBatch(Call& call) {
  const Batch* batch = call.batch(0);
  if (call.failed()) return 0;
  release(call.env, *batch);
  call.instance->batches[static_cast<size_t>(call.integer(0))].reset();
  return 0;
}

int64_t exported::countersInto(Call& call) {
  constexpr size_t kCounters = sizeof(Counters) / sizeof(uint64_t);
  const Bytes out = call.array(0, napi_float64_array, kCounters);
  const auto* values = reinterpret_cast<const uint64_t*>(&call.instance->counters);
  for (size_t i = 0; !call.failed() && i < kCounters; i++)
    reinterpret_cast<double*>(out.data)[i] = static_cast<double>(values[i]);
  return 0;
}

int64_t exported::close(Call& call) {
  const int32_t fd = call.descriptor(0);
  return call.failed() ? 0 : call.checked("close", ::close(fd));
}

// (our own process namespace, 1: what this thread starts from now on is in a new one, 0: in ours again)
int64_t exported::pidNamespace(Call& call) {
  const int32_t own = call.descriptor(0), isNew = call.integer(1);
  return call.failed() || (isNew != 0 ? unshare(CLONE_NEWPID) : setns(own, CLONE_NEWPID)) == 0 ? 0 : -errno;
}

NAPI_MODULE_INIT() {
  auto* instance = new Instance();
  const auto free = [](napi_env, void* data, void*) { delete static_cast<Instance*>(data); };
  napi_set_instance_data(env, instance, free, nullptr);
  napi_value function;
#define X(name)                                                                                                          \
  napi_create_function(env, #name, NAPI_AUTO_LENGTH, callExported, reinterpret_cast<void*>(exported::name), &function); \
  napi_set_named_property(env, exports, #name, function);
  EXPORTS(X)
#undef X
  return exports;
}
