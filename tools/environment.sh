# Sourced by ./demo and ./test, from the root of the tree: what every build of theirs shares.

# A stray setting of the caller's shell may not decide what is built.
unset CFLAGS CXXFLAGS CPPFLAGS LDFLAGS CC CXX DESTDIR
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}

# ccache where it is installed; paths below the tree are relative in it, so that another clone hits.
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_NOHASHDIR=1 CCACHE_BASEDIR=$PWD
  [[ -n ${HOME-} ]] || export CCACHE_DIR=${CCACHE_DIR:-$PWD/build/ccache}
fi
