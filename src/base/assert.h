/* SPDX-License-Identifier: MIT
 * ASSERT states one fact about our own code and stays on in packages. Bytes
 * from clients, peers and disks never reach one: they give errors.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

_Noreturn void assert_failed(const char *fact, const char *file, int line);

#define ASSERT(fact) ((fact) ? (void)0 : assert_failed(#fact, __FILE__, __LINE__))

#endif
