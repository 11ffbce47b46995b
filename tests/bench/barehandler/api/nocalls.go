//go:build !calls

package main

func calls() []any { return nil }
