"""Times what libopenscap does for one host inside the library: load definitions, parse system characteristics, evaluate.

Prints three numbers, milliseconds, each the least of several runs. Called by `cargo bench -- scap`; needs libopenscap (Debian: openscap-scanner).
"""

import ctypes
import sys
import time


def library():
    for name in ("libopenscap.so.25", "libopenscap.so.33", "libopenscap.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    sys.exit("libopenscap is not installed")


def main(definitions, characteristics, runs):
    lib = library()
    for function in ("oscap_source_new_from_file", "oval_definition_model_import_source", "oval_syschar_model_new", "oval_results_model_new"):
        getattr(lib, function).restype = ctypes.c_void_p
    best = [float("inf")] * 3
    for _ in range(runs):
        times = [time.perf_counter()]
        source = lib.oscap_source_new_from_file(definitions.encode())
        model = lib.oval_definition_model_import_source(ctypes.c_void_p(source))
        times.append(time.perf_counter())
        source = lib.oscap_source_new_from_file(characteristics.encode())
        found = lib.oval_syschar_model_new(ctypes.c_void_p(model))
        if lib.oval_syschar_model_import_source(ctypes.c_void_p(found), ctypes.c_void_p(source)) != 0:
            sys.exit("the system characteristics cannot be read")
        times.append(time.perf_counter())
        results = lib.oval_results_model_new(ctypes.c_void_p(model), (ctypes.c_void_p * 2)(found, None))
        lib.oval_results_model_eval(ctypes.c_void_p(results))
        times.append(time.perf_counter())
        best = [min(b, (t - s) * 1000) for b, s, t in zip(best, times, times[1:])]
    print(*(f"{b:.3f}" for b in best))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3)
