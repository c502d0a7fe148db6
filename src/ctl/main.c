/* SPDX-License-Identifier: MIT
 * The program crabclusterctl: see ctl/ctl.c.
 */
#include "ctl/ctl.h"

int main(int argc, char **argv)
{
    return ctl_main(argc, argv);
}
