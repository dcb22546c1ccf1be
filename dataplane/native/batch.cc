#include "batch.h"

#include "addon.h"
#include "socket_address.h"

namespace {

constexpr uint32_t kGroRegionBytes = 65536 + 512;
constexpr uint32_t kCapacityMax = 1u << 16;

// Keeps the array's buffer and @returns its data; null data of length 0 where the array is unused.
bool adopt(Call& call, Batch* batch, const char* name, napi_typedarray_type expected, void** data, size_t* length) {
  napi_value array = call.field(0, name), buffer;
  napi_typedarray_type type;
  size_t byteOffset;
  if (call.failed()) return false;
  if (napi_get_typedarray_info(call.env, array, &type, length, data, &buffer, &byteOffset) != napi_ok || type != expected) {
    call.typeError(std::string("registerBatch: ") + name + " is not the expected kind of typed array");
    return false;
  }
  if (*length == 0) return true;
  napi_value resizable;
  bool isResizable = false;
  if (napi_get_named_property(call.env, buffer, "resizable", &resizable) == napi_ok)
    napi_get_value_bool(call.env, resizable, &isResizable);
  if (isResizable) {
    call.typeError(std::string("registerBatch: the buffer of ") + name + " can shrink");
    return false;
  }
  for (napi_ref known : batch->buffers) {
    napi_value other;
    bool same = false;
    napi_get_reference_value(call.env, known, &other);
    napi_strict_equals(call.env, other, buffer, &same);
    if (same) return true;
  }
  napi_ref reference;
  if (napi_create_reference(call.env, buffer, 1, &reference) != napi_ok) {
    call.typeError(std::string("registerBatch: the buffer of ") + name + " cannot be kept");
    return false;
  }
  batch->buffers.push_back(reference);
  return true;
}

bool adoptAll(Call& call, Batch* batch) {
  void* data;
  size_t length;
  if (!adopt(call, batch, "offset", napi_uint32_array, &data, &length)) return false;
  if (length == 0 || length > kCapacityMax) {
    call.rangeError("registerBatch: a batch has 1 to 65536 slots");
    return false;
  }
  batch->capacity = static_cast<uint32_t>(length);
#define X(name, ctype, kind)                                                                          \
  if (!adopt(call, batch, #name, kind, &data, &length)) return false;                                 \
  if (length != 0 && length != batch->capacity) {                                                     \
    call.rangeError("registerBatch: " #name " has another number of slots than offset");              \
    return false;                                                                                     \
  }                                                                                                   \
  if (length != 0) {                                                                                  \
    batch->name = static_cast<ctype*>(data);                                                          \
    batch->present |= kHas_##name;                                                                    \
  }
  SLOT_ARRAYS(X)
#undef X
  if (!adopt(call, batch, "bytes", napi_uint8_array, &data, &batch->bytesSize)) return false;
  batch->bytes = static_cast<uint8_t*>(data);
  if (!adopt(call, batch, "remotes", napi_uint8_array, &data, &length)) return false;
  if (length % sizeof(SocketAddress) != 0 || length / sizeof(SocketAddress) > INT32_MAX) {
    call.rangeError("registerBatch: remotes is not a whole number of 64-byte rows");
    return false;
  }
  batch->remotes = static_cast<uint8_t*>(data);
  batch->rows = static_cast<uint32_t>(length / sizeof(SocketAddress));
  if (batch->rows != 0) batch->present |= kHasRemotes;
  if (!adopt(call, batch, "count", napi_uint32_array, &data, &length)) return false;
  if (length != 0) {
    batch->count = static_cast<uint32_t*>(data);
    batch->present |= kHasCount;
  }
  const int32_t region = call.integerField(0, "regionBytes", kGroRegionBytes);
  if (call.failed()) return false;
  if (region < 64) {
    call.rangeError("registerBatch: regionBytes is below 64");
    return false;
  }
  batch->regionBytes = static_cast<uint32_t>(region);
  return true;
}

void releaseReferences(napi_env env, Batch* batch) {
  for (napi_ref reference : batch->buffers) napi_delete_reference(env, reference);
  batch->buffers.clear();
}

}  // namespace

napi_value registerBatch(napi_env env, napi_callback_info info) {
  Call call(env, info);
  if (call.failed()) return nullptr;
  auto batch = std::make_unique<Batch>();
  if (!adoptAll(call, batch.get())) {
    releaseReferences(env, batch.get());
    return nullptr;
  }
  call.instance->batches.push_back(std::move(batch));
  return call.result(static_cast<int32_t>(call.instance->batches.size() - 1));
}

napi_value releaseBatch(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Batch* batch = call.batch(0, 0);
  if (batch == nullptr) return nullptr;
  releaseReferences(env, batch);
  call.instance->batches[static_cast<size_t>(call.integer(0))].reset();
  return nullptr;
}

// @returns the batch if the handle is one, its memory is still there and it has the arrays `needs`; else throws.
Batch* Call::batch(size_t index, uint32_t needs) {
  const int32_t handle = integer(index);
  if (failed_) return nullptr;
  if (handle < 0 || static_cast<size_t>(handle) >= instance->batches.size() || !instance->batches[handle]) {
    rangeError("No such batch");
    return nullptr;
  }
  Batch* batch = instance->batches[handle].get();
  for (napi_ref reference : batch->buffers) {
    napi_value buffer;
    bool detached = true;
    if (napi_get_reference_value(env, reference, &buffer) != napi_ok || buffer == nullptr ||
        napi_is_detached_arraybuffer(env, buffer, &detached) != napi_ok || detached) {
      typeError("The memory of the batch was transferred away");
      return nullptr;
    }
  }
  if ((batch->present & needs) != needs) {
    typeError("The batch was registered without an array that this call uses");
    return nullptr;
  }
  return batch;
}
