"""Programs by somebody who had not seen the doctor: twelve that fail, and eight that look alarming but are sound."""
