package main

type trainCmd struct{}

func (trainCmd) Run() error { return nil }
