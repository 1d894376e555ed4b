package bert

import "hpcbert/lib/fault"

// Precision returns the mode in which activations have the type of that name. Devices without tf32 compute it as fp32.
func Precision(name string) (Mode, error) {
	mode, known := map[string]Mode{"fp32": 0, "tf32": 0, "bf16": BFloat16, "fp16": Float16}[name]
	if !known {
		return 0, fault.Usagef("precision %q: must be fp32, tf32, bf16 or fp16", name)
	}
	return mode, nil
}
