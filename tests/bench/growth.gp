# SPDX-License-Identifier: MIT
# gnuplot -e "table='growth.txt'; image='growth.png'; series='keys values nodes connections'"
# growth.gp: rates above, processor time of all nodes below. Columns: see growth.py.

set terminal png size 1280, 640 font "sans,9"
set output image
set multiplot layout 2, words(series) columnsfirst title "crabcluster: the cost as the work grows"
set grid
set key above horizontal samplen 1.5
set style data linespoints
set pointsize 0.9

label(name) = name eq "keys" ? "keys stored" : name eq "values" ? "bytes of a value" : \
    name eq "nodes" ? "nodes" : "connections"
column_of(name) = name eq "keys" ? 2 : name eq "values" ? 3 : name eq "nodes" ? 1 : 4

do for [i = 1:words(series)] {
    name = word(series, i)
    unset logscale
    set format "%.0s%c"
    set xtics auto
    if (name ne "nodes") { set logscale x }
    if (name eq "nodes") { set xtics (1, 3, 5, 7) }
    set xlabel label(name)
    if (name eq "values") { set logscale y; set yrange [*:*] } else { set yrange [0:*] }
    set ylabel "per second"
    plot table index "more ".name using column_of(name):5 title "writes" lw 2 pt 7, \
         table index "more ".name using column_of(name):9 title "reads" lw 2 pt 5
    set ylabel "processor time of all nodes, us"
    plot table index "more ".name using column_of(name):8 title "a write" lw 2 pt 7, \
         table index "more ".name using column_of(name):12 title "a read" lw 2 pt 5
}
unset multiplot
