"""Programs by somebody who had not seen the doctor: twelve that fail, and six that look alarming but are sound."""
