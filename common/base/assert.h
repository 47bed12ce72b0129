/*
 * assert - conditions about ourselves, checked in release too.
 *
 * Never for bytes from the network or a disk: those are errors. One condition each.
 */
#ifndef COMMON_BASE_ASSERT_H
#define COMMON_BASE_ASSERT_H

_Noreturn void assert_failed(const char *condition, const char *file, int line);

#define ASSERT(condition) \
    ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))
#define IMPLIES(a, b) (!(a) || (b))
#define UNREACHABLE() assert_failed("unreachable", __FILE__, __LINE__)
#define STATIC_ASSERT(condition, text) _Static_assert(condition, text)

#ifdef CAIRN_SLOW_ASSERTS
#define ASSERT_SLOW(condition) ASSERT(condition)
#else
#define ASSERT_SLOW(condition) ((void)0)
#endif

#endif
