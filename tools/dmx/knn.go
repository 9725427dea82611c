package main

type knnCmd struct{}

func (knnCmd) Run() error { return nil }
