# Read by CMake right after llama.cpp's project() (CMAKE_PROJECT_llama.cpp_INCLUDE): of llama.cpp only the
# libraries that Freehold loads are built. llama-cpp-python's CMakeLists switches the rest on.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "Build llama.cpp common library" FORCE)
