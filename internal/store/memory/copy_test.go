package memory

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// TestFrozen fills every member of a resource, those that are yet to be added too: it must come out as it went in, and share nothing.
func TestFrozen(t *testing.T) {
	t.Parallel()

	var full deploy.Resource

	fill(t, reflect.ValueOf(&full).Elem())

	f := freeze(full)
	got, want := f.thaw(), *clone(&full)

	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(deploy.Error{})); diff != "" {
		t.Errorf("what is thawed is not what was frozen (-want +got):\n%s", diff)
	}

	theirs := map[uintptr]string{}

	reach(reflect.ValueOf(&full).Elem(), "", func(at uintptr, path string) { theirs[at] = path })

	if len(theirs) < 7 {
		t.Errorf("only %v was filled", theirs)
	}

	reach(reflect.ValueOf(&f.Resource).Elem(), "", func(at uintptr, path string) {
		if theirs[at] != "" {
			t.Errorf("what is frozen shares %s with the caller", path)
		}

		theirs[at] = path
	})

	reach(reflect.ValueOf(&got).Elem(), "", func(at uintptr, path string) {
		if theirs[at] != "" {
			t.Errorf("what is thawed shares %s", path)
		}
	})

	f = freeze(deploy.Resource{Needs: []deploy.Ref{}, Memo: map[string]string{}, Outputs: map[string]string{}})
	if diff := cmp.Diff(deploy.Resource{}, f.thaw()); diff != "" {
		t.Errorf("a table knows no empty list or map:\n%s", diff)
	}
}

func fill(t *testing.T, v reflect.Value) {
	t.Helper()

	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Map:
		key, member := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key)
		fill(t, member)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, member)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1, 0)))

			return
		}

		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(t, v.Field(i))
			}
		}
	default:
		t.Fatalf("a %s cannot be filled yet", v.Kind())
	}
}

// reach tells of everything that a value points to.
func reach(v reflect.Value, path string, tell func(at uintptr, path string)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if !v.IsNil() {
			tell(v.Pointer(), path)
		}
	default:
	}

	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			reach(v.Elem(), path, tell)
		}
	case reflect.Slice:
		for i := range v.Len() {
			reach(v.Index(i), path+"[]", tell)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}

		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				reach(v.Field(i), path+"."+v.Type().Field(i).Name, tell)
			}
		}
	default:
	}
}
