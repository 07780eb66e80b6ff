"""Tests of Gatehouse: they mirror the packages, plus journeys, contracts, browser, chaos and architecture."""
