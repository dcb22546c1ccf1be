// The keys of all threads. Installing and freeing take a lock; one thread uses a key, without any.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>

constexpr uint32_t kFutureEpochs = 8;
constexpr uint64_t kAeadLimit = (1ull << 36) - 1;  // packets + blocks under one AES-GCM key (protocol 6.5)

struct ReceiveKey {
  EVP_CIPHER_CTX* context = nullptr;
  uint8_t iv[12] = {};
  uint32_t epoch = 0;  // 0: holds no key (or the key format has no epochs)
};

struct KeySpec {
  const EVP_CIPHER* cipher;
  bool gcm;
  bool epochFormat;
  const uint8_t* encryptKey;
  const uint8_t* encryptIv;  // 8 bytes; unused with epochs
  const uint8_t* decryptKey;
  const uint8_t* decryptIv;
};

class Key {
 public:
  ~Key();
  bool setUp(const KeySpec& spec);

  // Takes `packets` ids for packets of `blocks` in all, moving to the next epoch where the current one has no room.
  // @returns the first id, 0 when the key is exhausted.
  uint64_t reserve(uint32_t packets, uint64_t blocks);
  // @returns the key of `epoch`: the current, the previous or one of the next 8; null for any other.
  ReceiveKey* receiveKey(uint32_t epoch);
  // Call when a packet of `key` was authentic: makes a future key current and lifts the sending epoch to it.
  bool authenticated(ReceiveKey* key);
  bool forward(uint64_t packetId, uint32_t epoch);

  int32_t handle = -1;
  bool epochFormat = false;
  EVP_CIPHER_CTX* sendContext = nullptr;
  uint8_t sendIv[12] = {};
  uint32_t sendEpoch = 0;
  uint64_t lastId = 0;
  uint64_t sealedPackets = 0, sealedBlocks = 0, openedPackets = 0, openedBlocks = 0, failedTags = 0;
  ReceiveKey current, previous, trial;

 private:
  struct Material {
    uint8_t key[32];
    uint8_t iv[12];
  };
  bool raiseSendEpoch(uint32_t epoch);
  bool deriveFuture();
  bool load(ReceiveKey* into, const Material& material, uint32_t epoch);

  const EVP_CIPHER* cipher_ = nullptr;
  uint32_t keyBytes_ = 0;
  bool gcm_ = false;
  uint8_t sendSecret_[32] = {};     // E of sendEpoch
  uint8_t receiveSecret_[32] = {};  // E of derived_ + 1
  uint32_t derived_ = 0;            // the last epoch whose material is in future_
  Material future_[kFutureEpochs] = {};  // of epoch e at e % kFutureEpochs
};

// @returns the key, null for a handle that is not, or no longer, one.
Key* findKey(int32_t handle);
