"""Where a share goes: filters and weighers over what the back ends report. Pure."""
