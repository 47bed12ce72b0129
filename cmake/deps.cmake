# Third-party libraries, all from Debian packages (the list: tools/packages.txt).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(LibXml2 REQUIRED)
pkg_check_modules(H2O REQUIRED IMPORTED_TARGET libh2o) # its .pc file carries the so version, not 2.2.5
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal>=2.30)
pkg_check_modules(ROCKSDB REQUIRED IMPORTED_TARGET rocksdb>=7.8)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
# Before 0.17.1 libraft commits entries of an old term by counting replicas (Raft paper, figure 8).
pkg_check_modules(RAFT REQUIRED IMPORTED_TARGET raft>=0.22)
