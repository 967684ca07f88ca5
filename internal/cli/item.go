package cli

import (
	"flag"
	"fmt"
	"os"
	"strconv"
)

// EveryItem is the value of -item where it is not given.
const EveryItem = -1

// indexVariables hold the index of a process among those of an array job: of
// Kubernetes, of Slurm, and of AWS Batch.
func indexVariables() []string {
	return []string{"JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID", "AWS_BATCH_JOB_ARRAY_INDEX"}
}

// ItemFlag adds the flag -item, whose value is for [Items].
func ItemFlag(f *flag.FlagSet) *int {
	return f.Int("item", EveryItem, "`index` of the one item to work on, from 0, in the order of the items (default "+
		"the index\nof an array job of Kubernetes, Slurm or AWS Batch; all items outside of one)")
}

// Items returns the indices of the items, of n in all, that this process works on: the
// one of -item, or that of the array job that the process belongs to, or else all.
func Items(item, n int) ([]int, error) {
	name, value := "-item", ""
	if item != EveryItem {
		value = strconv.Itoa(item)
	}
	for _, variable := range indexVariables() {
		if value == "" {
			name, value = variable, os.Getenv(variable)
		}
	}
	if value == "" {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	at, err := strconv.Atoi(value)
	if err != nil || at < 0 || at >= n {
		return nil, fmt.Errorf("%s is %s, and the items are 0 to %d", name, value, n-1)
	}
	Notice("item %d of 0 to %d, by %s", at, n-1, name)
	return []int{at}, nil
}
