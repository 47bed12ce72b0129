# The warnings of the house style; every one is an error with gcc and clang.
set(CAIRN_WARNINGS
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wvla -Wstrict-prototypes
    -Wmissing-prototypes -Wformat=2 -Werror)
