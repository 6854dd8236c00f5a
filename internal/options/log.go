// SPDX-License-Identifier: Apache-2.0

package options

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	stdlog "log"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlzap "sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Bounds of the log. Log lines contain text of others (names, errors of servers), and
// others decide how often a request fails.
const (
	// maxLogged is how much of a value, or of a message, is logged, in bytes.
	maxLogged = 1024
	// errorsRemembered is the number of errors for which the time of the log line is
	// remembered.
	errorsRemembered = 1024
	// The highest numbers of lines in a second: errors, and all lines.
	errorsASecond = 20
	linesASecond  = 200
)

// SetLogger lets the program and the libraries log as the options say, within bounds:
// see docs/design.md.
func SetLogger(opts ctrlzap.Options) {
	log := NewLogger(opts, time.Now)
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))
	stdlog.SetFlags(0)
	stdlog.SetOutput(standardLog{log.WithName("go")})
}

// standardLog receives the log of Go's packages: net/http logs a line for each
// unanswered connection to a port of the operator, and anybody can open such
// connections.
type standardLog struct{ logr.Logger }

// Write implements io.Writer.
func (l standardLog) Write(line []byte) (int, error) {
	l.V(1).Info(strings.TrimSpace(string(line)))
	return len(line), nil
}

// NewLogger returns the logger for SetLogger, with a clock.
func NewLogger(opts ctrlzap.Options, now func() time.Time) logr.Logger {
	budget := &logBudget{now: now, errors: map[uint64]*repeated{}, seed: maphash.MakeSeed()}
	// The core wraps, and so bypasses, the sampler of controller-runtime: the sampler
	// compares messages only, and would drop lines about other objects too.
	return zapr.NewLogger(ctrlzap.NewRaw(ctrlzap.UseFlagOptions(&opts)).WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return boundedLog{Core: core, budget: budget}
	})))
}

// boundedLog writes every text as a line of bounded length, a repeated error once a
// minute, and at most as many lines as the budget grants.
type boundedLog struct {
	zapcore.Core
	budget *logBudget
	// added are the fields of this log in addition to the fields of parent; a log without a
	// parent has no fields. The fields are only gathered when a line is written: every
	// reconciliation adds fields, and few write a line.
	parent *boundedLog
	added  []zapcore.Field
}

// With implements zapcore.Core.
func (l boundedLog) With(fields []zapcore.Field) zapcore.Core {
	return boundedLog{Core: l.Core, budget: l.budget, parent: &l, added: fields}
}

// context returns all fields, in the order in which they were added.
func (l boundedLog) context() []zapcore.Field {
	if l.parent == nil {
		return nil
	}
	return append(l.parent.context(), l.added...)
}

// Check implements zapcore.Core.
func (l boundedLog) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if l.Enabled(entry.Level) {
		return checked.AddCore(entry, l)
	}
	return checked
}

// Write implements zapcore.Core.
func (l boundedLog) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	entry.Message = wording.OneLine(entry.Message, maxLogged)
	isError := entry.Level >= zapcore.WarnLevel
	key := uint64(0)
	fields = plainFields(append(l.context(), fields...))
	if isError {
		key = l.budget.hashLine(entry.Message, fields)
	}
	repeats, dropped, granted := l.budget.spendLine(isError, key)
	if !granted {
		return nil
	}
	if repeats > 0 {
		fields = append(fields, zap.Int("repeats", repeats))
	}
	if dropped > 0 {
		fields = append(fields, zap.Int("linesDropped", dropped))
	}
	return l.Core.Write(entry, fields)
}

// logBudget decides which lines are logged. A budget is safe for concurrent use.
type logBudget struct {
	now  func() time.Time
	seed maphash.Seed

	mu           sync.Mutex
	errors       map[uint64]*repeated
	second       time.Time
	errs, lines  int // logged in the current second
	droppedSoFar int
}

// repeated is a logged error, with the number of repeats since.
type repeated struct {
	logged time.Time
	times  int
}

// spendLine says whether a line may be logged. For a granted line, repeats is how often
// the same error came since the last log line of the error, and dropped is how many
// lines were dropped since the last line.
func (b *logBudget) spendLine(isError bool, key uint64) (repeats, dropped int, granted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if now.Sub(b.second) >= time.Second || now.Before(b.second) {
		b.second, b.errs, b.lines = now, 0, 0
	}
	if isError {
		if before := b.errors[key]; before != nil && now.Sub(before.logged) < timing.LogRepeat {
			before.times++
			return 0, 0, false
		}
		if b.errs >= errorsASecond {
			b.droppedSoFar++
			return 0, 0, false
		}
	}
	if b.lines >= linesASecond {
		b.droppedSoFar++
		return 0, 0, false
	}
	b.lines++
	if isError {
		b.errs++
		repeats = b.rememberError(key, now)
	}
	dropped, b.droppedSoFar = b.droppedSoFar, 0
	return repeats, dropped, true
}

// rememberError notes the log line of an error, and returns how often the error came
// since the last log line of the error.
func (b *logBudget) rememberError(key uint64, now time.Time) (repeats int) {
	if before := b.errors[key]; before != nil {
		repeats = before.times
	}
	if len(b.errors) >= errorsRemembered {
		for other, e := range b.errors {
			if now.Sub(e.logged) >= timing.LogRepeat {
				delete(b.errors, other)
			}
		}
	}
	if len(b.errors) >= errorsRemembered {
		clear(b.errors) // with so many errors, the limit of each second decides
	}
	b.errors[key] = &repeated{logged: now}
	return repeats
}

// hashLine returns equal hashes for lines with the same content. The ID of a
// reconciliation is not content.
func (b *logBudget) hashLine(message string, fields []zapcore.Field) uint64 {
	var h maphash.Hash
	h.SetSeed(b.seed)
	_, _ = h.WriteString(message)
	for _, field := range fields {
		if field.Key != "reconcileID" {
			fmt.Fprintf(&h, "\n%s %d %s %v", field.Key, field.Integer, field.String, field.Interface)
		}
	}
	return h.Sum64()
}

// plainFields returns the fields with every text as a line of bounded length. A value
// within bounds keeps the type.
func plainFields(fields []zapcore.Field) []zapcore.Field {
	plain := make([]zapcore.Field, 0, len(fields))
	for _, field := range fields {
		if object, is := field.Interface.(metav1.Object); is {
			field = zap.String(field.Key, klog.KObj(object).String())
		}
		if text, is := textOf(field); is {
			if line := wording.OneLine(text, maxLogged); line != text || field.Type == zapcore.ErrorType {
				field = zap.String(field.Key, line)
			}
		}
		plain = append(plain, field)
	}
	return plain
}

// textOf returns the logged text of a field, if the text may have any length.
func textOf(field zapcore.Field) (text string, is bool) {
	switch field.Type {
	case zapcore.StringType:
		return field.String, true
	case zapcore.ErrorType, zapcore.StringerType:
		return fmt.Sprint(field.Interface), true
	case zapcore.ByteStringType, zapcore.BinaryType:
		if bytes, ok := field.Interface.([]byte); ok {
			return string(bytes), true
		}
	case zapcore.ReflectType, zapcore.ArrayMarshalerType, zapcore.ObjectMarshalerType:
		if out, err := json.Marshal(field.Interface); err == nil {
			return string(out), true
		}
		return fmt.Sprint(field.Interface), true
	}
	return "", false
}
