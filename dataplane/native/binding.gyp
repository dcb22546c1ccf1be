{
  "variables": { "sanitize%": "" },
  "targets": [
    {
      "target_name": "clientvpn",
      "sources": ["module.cc", "sockets.cc", "tun.cc", "aead.cc", "wait.cc", "tls.cc"],
      "defines": ["NAPI_VERSION=9"],
      "cflags!": ["-O2", "-Wno-unused-parameter"],
      "cflags": ["-O3", "-Wall", "-Wextra", "-Werror", "-fstack-protector-strong", "-fvisibility=hidden"],
      "cflags_cc!": ["-std=gnu++20", "-Wno-unused-parameter"],
      "cflags_cc": ["-std=c++17", "-fno-exceptions"],
      "ldflags": ["-Wl,-z,relro,-z,now,-z,noexecstack"],
      "conditions": [
        ["sanitize!=''", {
          "cflags": ["-fsanitize=<(sanitize)", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g"],
          "ldflags": ["-fsanitize=<(sanitize)"]
        }, {
          "cflags": ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
        }]
      ]
    }
  ]
}
