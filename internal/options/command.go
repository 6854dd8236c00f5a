// SPDX-License-Identifier: Apache-2.0

package options

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Command is something that the program can be told to do: it adds its flags to
// a flag set, and returns what is to be called once they are parsed.
type Command func(flags *flag.FlagSet) (run func() error)

// Parse finds the command that the arguments name, has it add its flags, and
// parses the rest of the arguments. The command without a name is meant where
// the first argument is none, but a flag. An error says what is wrong with the
// arguments.
func Parse(flags *flag.FlagSet, arguments []string, commands map[string]Command) (run func() error, err error) {
	name := ""
	if len(arguments) > 0 && !strings.HasPrefix(arguments[0], "-") {
		name, arguments = arguments[0], arguments[1:]
	}
	command, known := commands[name]
	if !known {
		return nil, fmt.Errorf("unknown command %q: use %s, or none to run the operator", name, list(commands))
	}
	run = command(flags)
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: flags are all that is expected", flags.Arg(0))
	}
	return run, nil
}

func list(commands map[string]Command) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(commands)), func(name string) bool { return name == "" })
	return strings.Join(names, ", ")
}
